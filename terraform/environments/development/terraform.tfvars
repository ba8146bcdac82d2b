account_id  = "123456789012"
environment = "development"

load_balancer = {
  target_port                  = 8080
  deregistration_delay_seconds = 5
  health_check = {
    path                = "/health"
    interval_seconds    = 5
    timeout_seconds     = 4
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

fleets = {
  web = {
    instance_type = "t3.small"
    min_size      = 2
    max_size      = 4
  }
}
