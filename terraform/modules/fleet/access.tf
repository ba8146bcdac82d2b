# Who reaches the instances, and what they may do.

data "aws_iam_policy_document" "assume_role" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

# The path tells what deployments may make and hand to instances (modules/iam).
resource "aws_iam_role" "this" {
  name                 = local.full_name
  path                 = "/bakeroll/${var.environment}/"
  description          = "Instances of fleet ${var.name} in ${var.environment}"
  assume_role_policy   = data.aws_iam_policy_document.assume_role.json
  permissions_boundary = var.permissions_boundary_arn
}

# What the SSM agent needs to be known to SSM and to take and answer commands. AmazonSSMManagedInstanceCore would
# let each instance read every SSM parameter and document of the account besides.
# Source: https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-setting-up-messageAPIs.html
data "aws_iam_policy_document" "ssm_agent" {
  statement {
    actions = [
      "ssm:UpdateInstanceInformation",
      "ssmmessages:CreateControlChannel",
      "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel",
      "ssmmessages:OpenDataChannel",
      # Where commands come from if the agent is an old one, or does not get through to ssmmessages.
      "ec2messages:AcknowledgeMessage",
      "ec2messages:DeleteMessage",
      "ec2messages:FailMessage",
      "ec2messages:GetEndpoint",
      "ec2messages:GetMessages",
      "ec2messages:SendReply",
    ]
    # None of the message actions can be granted for single resources.
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "ssm_agent" {
  name   = "ssm-agent"
  role   = aws_iam_role.this.name
  policy = data.aws_iam_policy_document.ssm_agent.json
}

resource "aws_iam_role_policy_attachment" "additional" {
  for_each = var.policy_arns

  role       = aws_iam_role.this.name
  policy_arn = each.value
}

resource "aws_iam_instance_profile" "this" {
  name = local.full_name
  path = "/bakeroll/${var.environment}/"
  role = aws_iam_role.this.name
}

resource "aws_security_group" "this" {
  name        = local.full_name
  description = "Instances of fleet ${var.name} in ${var.environment}"
  vpc_id      = var.vpc_id

  tags = { Name = local.full_name, "bakeroll:environment" = var.environment }
}

# Requests and health checks.
resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  # The object is known while its ids may not be yet.
  count = var.load_balancer == null ? 0 : 1

  security_group_id            = aws_security_group.this.id
  ip_protocol                  = "tcp"
  from_port                    = var.load_balancer.target_port
  to_port                      = var.load_balancer.target_port
  referenced_security_group_id = var.load_balancer.security_group_id
}

resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.this.id
  description       = "The SSM agent, the log collector, and what the application calls"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}
