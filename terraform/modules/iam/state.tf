# The environment's objects in the state bucket: a bucket can hold several environments.

data "aws_iam_policy_document" "state" {
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket]
  }

  statement {
    sid     = "ReadAndWrite"
    actions = ["s3:GetObject", "s3:PutObject"]
    resources = [
      "${local.bucket}/drains/${var.environment}/*",
      "${local.bucket}/fleets/${var.environment}.json",
      "${local.bucket}/inputs/*",
      "${local.bucket}/journal/${var.environment}.json",
      "${local.bucket}/leases/*",
      "${local.bucket}/plans/${var.environment}/*",
      "${local.bucket}/releases/${var.environment}/*",
      "${local.bucket}/terraform/${var.environment}/*",
    ]
  }

  # Journal, leases and Terraform's lock; never a state, a plan or a release.
  statement {
    sid     = "Unlock"
    actions = ["s3:DeleteObject"]
    resources = [
      "${local.bucket}/journal/${var.environment}.json",
      "${local.bucket}/leases/*",
      "${local.bucket}/terraform/${var.environment}/*.tflock",
    ]
  }
}
