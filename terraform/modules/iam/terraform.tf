# Terraform on the environment's root module: making, changing and, with allow_destroy, destroying what it declares.

data "aws_iam_policy_document" "terraform" {
  # The first three are asked for by whoever makes a load balancer.
  # Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-permissions.html
  statement {
    sid = "Look"
    actions = [
      "ec2:DescribeAccountAttributes",
      "ec2:DescribeAddresses",
      "ec2:DescribeInternetGateways",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeRouteTables",
      "ec2:DescribeVpcAttribute",
    ]
    resources = ["*"]
  }

  statement {
    sid = "Groups"
    actions = [
      "autoscaling:AttachLoadBalancerTargetGroups",
      "autoscaling:CreateAutoScalingGroup",
      "autoscaling:CreateOrUpdateTags",
      "autoscaling:DeleteAutoScalingGroup",
      "autoscaling:DeleteLifecycleHook",
      "autoscaling:DeleteTags",
      "autoscaling:DetachLoadBalancerTargetGroups",
      "autoscaling:PutLifecycleHook",
      "autoscaling:UpdateAutoScalingGroup",
    ]
    resources = [local.group]
  }

  # Auto Scaling asks whether whoever makes or changes a group could launch its template's instances.
  # Source: https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
  statement {
    sid     = "LaunchFrom"
    actions = ["ec2:RunInstances"]
    resources = [
      "${local.public_ec2}:image/*",
      "${local.public_ec2}:snapshot/*",
      "${local.ec2}:launch-template/*",
      "${local.ec2}:network-interface/*",
      "${local.ec2}:security-group/*",
      "${local.ec2}:subnet/*",
    ]
  }

  statement {
    sid       = "LaunchFleetInstances"
    actions   = ["ec2:RunInstances", "ec2:CreateTags"]
    resources = ["${local.ec2}:instance/*", "${local.ec2}:volume/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/bakeroll:environment"
      values   = [var.environment]
    }
  }

  statement {
    sid = "MakeTemplatesAndSecurityGroups"
    actions = [
      "ec2:CreateLaunchTemplate",
      "ec2:CreateSecurityGroup",
      "ec2:CreateTags",
    ]
    resources = ["${local.ec2}:launch-template/*", "${local.ec2}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/bakeroll:environment"
      values   = [var.environment]
    }
  }

  statement {
    sid       = "SecurityGroupsOfTheNetwork"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["${local.ec2}:vpc/*"]
  }

  statement {
    sid = "ChangeTemplatesAndSecurityGroups"
    actions = [
      "ec2:AuthorizeSecurityGroupEgress",
      "ec2:AuthorizeSecurityGroupIngress",
      "ec2:CreateLaunchTemplateVersion",
      "ec2:DeleteLaunchTemplate",
      "ec2:DeleteSecurityGroup",
      "ec2:ModifyLaunchTemplate",
      "ec2:RevokeSecurityGroupEgress",
      "ec2:RevokeSecurityGroupIngress",
    ]
    resources = ["${local.ec2}:launch-template/*", "${local.ec2}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:ResourceTag/bakeroll:environment"
      values   = [var.environment]
    }
  }

  statement {
    sid = "LoadBalancer"
    actions = [
      "elasticloadbalancing:CreateListener",
      "elasticloadbalancing:CreateLoadBalancer",
      "elasticloadbalancing:CreateTargetGroup",
      "elasticloadbalancing:DeleteListener",
      "elasticloadbalancing:DeleteLoadBalancer",
      "elasticloadbalancing:DeleteTargetGroup",
      "elasticloadbalancing:ModifyListener",
      "elasticloadbalancing:ModifyLoadBalancerAttributes",
      "elasticloadbalancing:ModifyTargetGroup",
      "elasticloadbalancing:ModifyTargetGroupAttributes",
    ]
    resources = [for what in [
      "listener/app/${local.hyphenated}/*",
      "loadbalancer/app/${local.hyphenated}/*",
      "targetgroup/${local.hyphenated}/*",
    ] : "${local.arn}:elasticloadbalancing:${local.here}:${what}"]
  }

  statement {
    sid = "DrainAndWakeUpCalls"
    actions = [
      "events:DeleteRule",
      "events:DescribeRule",
      "events:ListTagsForResource",
      "events:ListTargetsByRule",
      "events:PutRule",
      "events:PutTargets",
      "events:RemoveTargets",
      "sns:CreateTopic",
      "sns:DeleteTopic",
      "sns:GetTopicAttributes",
      "sns:ListTagsForResource",
      "sns:SetTopicAttributes",
      "sqs:CreateQueue",
      "sqs:DeleteQueue",
      "sqs:GetQueueAttributes",
      "sqs:ListQueueTags",
      "sqs:SetQueueAttributes",
      "ssm:CreateDocument",
      "ssm:DeleteDocument",
      "ssm:DescribeDocument",
      "ssm:DescribeDocumentPermission",
      "ssm:GetDocument",
      "ssm:ListTagsForResource",
      "ssm:UpdateDocument",
      "ssm:UpdateDocumentDefaultVersion",
    ]
    resources = [local.document, local.failures, local.queue, local.rule, local.topic]
  }

  statement {
    sid = "LookAtRoles"
    actions = [
      "iam:GetInstanceProfile",
      "iam:GetRole",
      "iam:GetRolePolicy",
      "iam:ListAttachedRolePolicies",
      "iam:ListInstanceProfilesForRole",
      "iam:ListRolePolicies",
    ]
    resources = [local.profiles, local.roles]
  }

  statement {
    sid = "MakeRoles"
    actions = [
      "iam:CreateRole",
      "iam:DeleteRolePolicy",
      "iam:DetachRolePolicy",
      "iam:PutRolePolicy",
    ]
    resources = [local.roles]

    condition {
      test     = "StringEquals"
      variable = "iam:PermissionsBoundary"
      values   = [local.boundary]
    }
  }

  statement {
    sid = "Profiles"
    actions = [
      "iam:AddRoleToInstanceProfile",
      "iam:CreateInstanceProfile",
      "iam:DeleteInstanceProfile",
      "iam:DeleteRole",
      "iam:RemoveRoleFromInstanceProfile",
    ]
    resources = [local.profiles, local.roles]
  }

  statement {
    sid       = "HandRolesToInstances"
    actions   = ["iam:PassRole"]
    resources = [local.roles]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }

  # The first group and the first load balancer of an account.
  statement {
    sid       = "ServiceLinkedRoles"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["${local.arn}:iam::${var.account_id}:role/aws-service-role/*"]

    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values   = ["autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com"]
    }
  }

  dynamic "statement" {
    for_each = length(var.instance_policy_arns) == 0 ? [] : ["AttachPolicies"]

    content {
      sid       = statement.value
      actions   = ["iam:AttachRolePolicy"]
      resources = [local.roles]

      condition {
        test     = "StringEquals"
        variable = "iam:PermissionsBoundary"
        values   = [local.boundary]
      }

      condition {
        test     = "ArnEquals"
        variable = "iam:PolicyARN"
        values   = var.instance_policy_arns
      }
    }
  }
}
