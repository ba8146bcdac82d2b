# Packer, and removing what a killed one left. What it makes is known by the tag bakeroll:layer; fleets' instances have
# none, so nothing here reaches them.

data "aws_iam_policy_document" "bake" {
  # From whatever image and into whatever network the environment file says.
  statement {
    sid     = "LaunchFrom"
    actions = ["ec2:RunInstances"]
    resources = [
      "${local.public_ec2}:image/*",
      "${local.public_ec2}:snapshot/*",
      "${local.ec2}:key-pair/packer_*",
      "${local.ec2}:network-interface/*",
      "${local.ec2}:security-group/*",
      "${local.ec2}:subnet/*",
    ]
  }

  statement {
    sid       = "LaunchBuildInstances"
    actions   = ["ec2:RunInstances"]
    resources = ["${local.ec2}:instance/*", "${local.ec2}:volume/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/bakeroll:layer"
      values   = local.layers
    }
  }

  statement {
    sid = "EndBuildInstances"
    actions = [
      "ec2:CreateImage",
      "ec2:DeleteVolume",
      "ec2:StopInstances",
      "ec2:TerminateInstances",
    ]
    resources = ["${local.ec2}:instance/*", "${local.ec2}:volume/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:ResourceTag/bakeroll:layer"
      values   = local.layers
    }
  }

  # Packer tags an image after it was made: the image and its snapshots have no tag before.
  statement {
    sid       = "MakeImages"
    actions   = ["ec2:CreateImage", "ec2:ModifyImageAttribute"]
    resources = ["${local.public_ec2}:image/*", "${local.public_ec2}:snapshot/*"]
  }

  statement {
    sid       = "RemoveImages"
    actions   = ["ec2:DeleteSnapshot", "ec2:DeregisterImage"]
    resources = ["${local.public_ec2}:image/*", "${local.public_ec2}:snapshot/*"]

    # One that Packer died before tagging has none.
    condition {
      test     = "StringEqualsIfExists"
      variable = "ec2:ResourceTag/bakeroll:layer"
      values   = local.layers
    }
  }

  statement {
    sid       = "TagImages"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.public_ec2}:image/*", "${local.public_ec2}:snapshot/*"]

    condition {
      test     = "ForAllValues:StringLike"
      variable = "aws:TagKeys"
      values   = ["Name", "bakeroll:*"]
    }
  }

  statement {
    sid       = "TagWhatIsMade"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.ec2}:*/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["CreateKeyPair", "CreateSecurityGroup", "RunInstances"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/bakeroll:layer"
      values   = local.layers
    }
  }

  statement {
    sid       = "KeyPairs"
    actions   = ["ec2:CreateKeyPair", "ec2:DeleteKeyPair"]
    resources = ["${local.ec2}:key-pair/packer_*"]
  }

  statement {
    sid       = "MakeSecurityGroups"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["${local.ec2}:security-group/*", "${local.ec2}:vpc/*"]
  }

  # Packer 1.6 cannot tag its security group: what has another owner's name is not touched.
  statement {
    sid       = "BuildSecurityGroups"
    actions   = ["ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup"]
    resources = ["${local.ec2}:security-group/*"]

    condition {
      test     = "StringLikeIfExists"
      variable = "ec2:ResourceTag/Name"
      values   = ["packer *"]
    }
  }
}
