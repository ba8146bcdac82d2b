# An example: put your own account here, and a certificate_arn into load_balancer.
account_id  = "123456789012"
environment = "production"

# Made by terraform/access, which must be applied first.
permissions_boundary_arn = "arn:aws:iam::123456789012:policy/bakeroll/policies/production-instances"

load_balancer = {
  target_port                  = 8080
  deletion_protection          = true
  deregistration_delay_seconds = 120
  health_check = {
    path = "/health"
  }
}

fleets = {
  web = {
    instance_type = "m7i.large"
    min_size      = 4
    max_size      = 40
  }
}
