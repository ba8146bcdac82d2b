"""An AWS account on this machine: everything is real but the hypervisor."""
