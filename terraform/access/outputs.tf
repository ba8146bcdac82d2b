output "policy_arns" {
  description = "The policies, by what they are for: look, bake, terraform, rollout, state."
  value       = module.iam.policy_arns
}

output "permissions_boundary_arn" {
  description = "What instances may do at most, for permissions_boundary_arn of the environment."
  value       = module.iam.permissions_boundary_arn
}

output "role_arn" {
  description = "Role that the Airflow connection assumes; null if nobody is trusted with it."
  value       = module.iam.role_arn
}
