# An example: put your own account here.
account_id  = "123456789012"
environment = "staging"

# Made by terraform/access, which must be applied first.
permissions_boundary_arn = "arn:aws:iam::123456789012:policy/bakeroll/policies/staging-instances"

load_balancer = {
  target_port = 8080
  health_check = {
    path = "/health"
  }
}

fleets = {
  web = {
    instance_type = "t3.medium"
    min_size      = 2
    max_size      = 8
  }
}
