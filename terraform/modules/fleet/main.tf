# One Auto Scaling group, its launch template, and what its instances may do.

locals {
  full_name = "${var.environment}-${var.name}"

  instance_tags = merge(var.tags, {
    Name                   = local.full_name
    "bakeroll:environment" = var.environment
    "bakeroll:fleet"       = var.name
  })
}

resource "aws_launch_template" "this" {
  name                   = local.full_name
  image_id               = var.image_id
  instance_type          = var.instance_type
  vpc_security_group_ids = [aws_security_group.this.id]
  update_default_version = true

  tags = { "bakeroll:environment" = var.environment }

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = var.root_volume.device_name

    ebs {
      encrypted             = true
      volume_size           = var.root_volume.size_gib
      volume_type           = var.root_volume.type
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = ["instance", "volume"]

    content {
      resource_type = tag_specifications.value
      tags          = local.instance_tags
    }
  }
}

resource "aws_autoscaling_group" "this" {
  name                      = local.full_name
  vpc_zone_identifier       = var.subnet_ids
  min_size                  = max(var.min_size, var.min_size_floor)
  max_size                  = max(var.max_size, var.max_size_floor)
  health_check_type         = var.load_balancer == null ? "EC2" : "ELB"
  health_check_grace_period = var.health_check_grace_period_seconds
  target_group_arns         = var.load_balancer == null ? [] : [var.load_balancer.target_group_arn]
  # The deployment waits for capacity, with better words and while Terraform's state is unlocked.
  wait_for_capacity_timeout = "0"

  launch_template {
    id = aws_launch_template.this.id
    # A number, not $Latest: so each change of the template shows in the plan as a change of the group.
    version = aws_launch_template.this.latest_version
  }

  # Made together with the group, so that no instance ever exists that the hook does not hold. The provider
  # replaces the whole group when this block changes: it counts on creation only (ignore_changes below), and
  # from then on the hook of the same name is aws_autoscaling_lifecycle_hook.termination's.
  initial_lifecycle_hook {
    name                 = var.termination_hook.name
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    heartbeat_timeout    = var.termination_hook.heartbeat_timeout_seconds
    default_result       = var.termination_hook.default_result
  }

  # On the group alone: the launch template tags the instances.
  dynamic "tag" {
    for_each = local.instance_tags

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false
    }
  }

  lifecycle {
    # What deployments and scaling policies set.
    ignore_changes = [desired_capacity, suspended_processes, protect_from_scale_in, initial_lifecycle_hook]
  }

  # What an instance needs from its first moment (else its SSM agent cannot register) to its last (else its log
  # buffer cannot be flushed): made before the group, and destroyed after it.
  depends_on = [
    aws_iam_role_policy.ssm_agent,
    aws_iam_role_policy_attachment.additional,
    aws_vpc_security_group_egress_rule.all,
    aws_vpc_security_group_ingress_rule.load_balancer,
  ]
}

resource "aws_autoscaling_lifecycle_hook" "termination" {
  name                   = var.termination_hook.name
  autoscaling_group_name = aws_autoscaling_group.this.name
  lifecycle_transition   = "autoscaling:EC2_INSTANCE_TERMINATING"
  heartbeat_timeout      = var.termination_hook.heartbeat_timeout_seconds
  default_result         = var.termination_hook.default_result
}
