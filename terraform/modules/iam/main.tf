# What deployments of one environment may do in AWS, split by what does it. Which actions can be limited to resources
# and by tags, and what each API call needs: https://docs.aws.amazon.com/service-authorization/latest/reference/

data "aws_partition" "current" {}

locals {
  arn         = "arn:${data.aws_partition.current.partition}"
  here        = "${var.region}:${var.account_id}"
  ec2         = "${local.arn}:ec2:${local.here}"
  public_ec2  = "${local.arn}:ec2:${var.region}:" # images and snapshots belong to nobody's account
  bucket      = "${local.arn}:s3:::${var.state_bucket}"
  group       = "${local.arn}:autoscaling:${local.here}:autoScalingGroup:*:autoScalingGroupName/${var.environment}-*"
  document    = "${local.arn}:ssm:${local.here}:document/${var.environment}-drain"
  queue       = "${local.arn}:sqs:${local.here}:${var.environment}-terminations"
  topic       = "${local.arn}:sns:${local.here}:${var.environment}-terminations"
  failures    = "${local.arn}:sns:${local.here}:${var.environment}-drain-failures"
  rule        = "${local.arn}:events:${local.here}:rule/${var.environment}-terminations"
  roles       = "${local.arn}:iam::${var.account_id}:role/bakeroll/${var.environment}/*"
  profiles    = "${local.arn}:iam::${var.account_id}:instance-profile/bakeroll/${var.environment}/*"
  layers      = ["base", "application_base", "application"]
  hyphenated  = replace(var.environment, "_", "-") # as a load balancer is called
  policy_path = "/bakeroll/policies/"              # of none of the roles above, nor is the deployer's own role
  # Not the policy's attribute: that is known only after it was made, and nobody could look at the plan.
  boundary = "${local.arn}:iam::${var.account_id}:policy${local.policy_path}${var.environment}-instances"
  policies = {
    look      = data.aws_iam_policy_document.look.json
    bake      = data.aws_iam_policy_document.bake.json
    terraform = data.aws_iam_policy_document.terraform.json
    rollout   = data.aws_iam_policy_document.rollout.json
    state     = data.aws_iam_policy_document.state.json
  }
}

resource "aws_iam_policy" "this" {
  for_each = local.policies

  name        = "${var.environment}-${each.key}"
  path        = local.policy_path
  description = "Deployments of ${var.environment}: ${each.key}"
  policy      = each.value
}

# The most that instances can be allowed to do, whatever policies Terraform gives them: else whoever may write a role's
# policy and hand the role to an instance may do everything.
# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
resource "aws_iam_policy" "instances" {
  name        = "${var.environment}-instances"
  path        = local.policy_path
  description = "The most that instances of ${var.environment} may do"
  policy      = data.aws_iam_policy_document.instances.json
}

data "aws_iam_policy_document" "instances" {
  statement {
    sid = "SsmAgent"
    actions = [
      "ec2messages:*",
      "ssm:UpdateInstanceInformation",
      "ssmmessages:*",
    ]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = length(var.instance_actions) == 0 ? [] : ["Application"]

    content {
      sid       = statement.value
      actions   = var.instance_actions
      resources = var.instance_resources
    }
  }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = var.trusted_arns
    }
  }
}

# What the Airflow connection assumes (role_arn), where Airflow's own identity is not given the policies itself.
resource "aws_iam_role" "deployer" {
  count = length(var.trusted_arns) == 0 ? 0 : 1

  name                 = "${var.environment}-deployer"
  path                 = "/bakeroll/deployers/"
  description          = "Deployments of ${var.environment}"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  max_session_duration = 43200
}

resource "aws_iam_role_policy_attachment" "deployer" {
  for_each = length(var.trusted_arns) == 0 ? {} : aws_iam_policy.this

  role       = aws_iam_role.deployer[0].name
  policy_arn = each.value.arn
}
