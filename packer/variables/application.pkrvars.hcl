layer         = "application"
instance_type = "t3.small"
