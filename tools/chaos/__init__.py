"""Simulated rollouts under random faults: core's own steps against the sandbox's model, in virtual time."""
