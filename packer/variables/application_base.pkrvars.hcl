layer         = "application_base"
instance_type = "t3.small"
