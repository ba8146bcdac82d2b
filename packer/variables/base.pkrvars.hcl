layer         = "base"
instance_type = "t3.small"
