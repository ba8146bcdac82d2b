# One environment: a load balancer, its fleets, and the drain of their instances.

data "aws_vpc" "this" {
  filter {
    name   = "tag:bakeroll:network"
    values = [var.network]
  }
}

data "aws_subnets" "this" {
  for_each = toset(["public", "private"])

  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.this.id]
  }

  filter {
    name   = "tag:bakeroll:subnet-tier"
    values = [each.key]
  }
}

module "load_balancer" {
  source = "../../modules/load_balancer"

  environment = var.environment
  # A load balancer's name has no underscore.
  name                         = replace(var.environment, "_", "-")
  vpc_id                       = data.aws_vpc.this.id
  subnet_ids                   = sort(data.aws_subnets.this["public"].ids)
  internal                     = var.load_balancer.internal
  ingress_cidr_blocks          = var.load_balancer.ingress_cidr_blocks
  http_port                    = var.load_balancer.http_port
  certificate_arn              = var.load_balancer.certificate_arn
  deletion_protection          = var.load_balancer.deletion_protection
  target_port                  = var.load_balancer.target_port
  deregistration_delay_seconds = var.load_balancer.deregistration_delay_seconds
  health_check                 = var.load_balancer.health_check
}

module "fleet" {
  source   = "../../modules/fleet"
  for_each = var.fleets

  environment   = var.environment
  name          = each.key
  image_id      = local.application_ami_id
  instance_type = each.value.instance_type
  vpc_id        = data.aws_vpc.this.id
  subnet_ids    = sort(data.aws_subnets.this["private"].ids)

  min_size       = each.value.min_size
  max_size       = each.value.max_size
  min_size_floor = lookup(var.min_size_floor, each.key, 0)
  max_size_floor = lookup(var.max_size_floor, each.key, 0)

  load_balancer = !each.value.load_balanced ? null : {
    target_group_arn  = module.load_balancer.target_group_arn
    security_group_id = module.load_balancer.security_group_id
    target_port       = var.load_balancer.target_port
  }

  termination_hook = {
    name                      = "${var.environment}-drain"
    heartbeat_timeout_seconds = var.drain.heartbeat_timeout_seconds
    # What the hook does by itself is what deployments do: see drain.on_failure in docs/environment.md.
    default_result = coalesce(each.value.on_failure, var.drain.on_failure) == "retain" ? "ABANDON" : "CONTINUE"
  }

  health_check_grace_period_seconds = each.value.health_check_grace_period_seconds
  root_volume                       = each.value.root_volume
  policy_arns                       = each.value.policy_arns
  permissions_boundary_arn          = var.permissions_boundary_arn
  tags                              = var.tags
}

module "drain" {
  source = "../../modules/drain"

  environment = var.environment
  # The names as modules/fleet makes them, not its outputs: any of those would wait for the groups, and those for
  # the load balancer, while the queue takes a while to make as well.
  autoscaling_group_names = [for name in keys(var.fleets) : "${var.environment}-${name}"]
  rpc_endpoint            = var.drain.rpc_endpoint
  monitor_endpoint        = var.drain.monitor_endpoint
  position_files          = var.drain.position_files
}
