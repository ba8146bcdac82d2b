# What all environments share; an environment's own terraform.tfvars comes after it.
region  = "ap-northeast-1"
network = "bakeroll"
