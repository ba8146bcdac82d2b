"""Real machines: root filesystems in namespaces, booted, stopped and imaged like EC2 instances."""
