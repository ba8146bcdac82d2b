# Moving the environment's groups to another image, and draining their instances.

data "aws_iam_policy_document" "rollout" {
  statement {
    sid = "Groups"
    actions = [
      "autoscaling:CompleteLifecycleAction",
      "autoscaling:RecordLifecycleActionHeartbeat",
      "autoscaling:ResumeProcesses",
      "autoscaling:SetInstanceProtection",
      "autoscaling:SuspendProcesses",
      "autoscaling:TerminateInstanceInAutoScalingGroup",
      "autoscaling:UpdateAutoScalingGroup",
    ]
    resources = [local.group]
  }

  # A rollback points a group at another version of its launch template; see terraform.tf.
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
    sid       = "HandRolesToInstances"
    actions   = ["iam:PassRole"]
    resources = [local.roles]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }

  statement {
    sid       = "DrainDocument"
    actions   = ["ssm:DescribeDocument", "ssm:SendCommand"]
    resources = [local.document]
  }

  statement {
    sid       = "DrainInstances"
    actions   = ["ssm:SendCommand"]
    resources = ["${local.ec2}:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "ssm:resourceTag/bakeroll:environment"
      values   = [var.environment]
    }
  }

  statement {
    sid       = "DrainFailures"
    actions   = ["sns:Publish"]
    resources = [local.failures]
  }

  statement {
    sid       = "JudgeImages"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.public_ec2}:image/*", "${local.public_ec2}:snapshot/*"]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "aws:TagKeys"
      values   = ["bakeroll:${var.environment}"]
    }

    condition {
      test     = "StringEquals"
      variable = "ec2:ResourceTag/bakeroll:layer"
      values   = ["application"]
    }
  }

  statement {
    sid = "WakeUpCalls"
    actions = [
      "sqs:DeleteMessage",
      "sqs:GetQueueUrl",
      "sqs:ReceiveMessage",
    ]
    resources = [local.queue]
  }
}
