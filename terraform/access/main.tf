# What an environment's deployments may do in AWS: applied by hand, by somebody who may write IAM policies. Its state is
# out of the deployments' reach, as they could widen their own rights by it.

module "iam" {
  source = "../modules/iam"

  environment          = var.environment
  region               = var.region
  account_id           = var.account_id
  state_bucket         = var.state_bucket
  trusted_arns         = var.trusted_arns
  instance_actions     = var.instance_actions
  instance_resources   = var.instance_resources
  instance_policy_arns = var.instance_policy_arns
}
