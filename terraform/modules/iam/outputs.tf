output "policy_arns" {
  description = "The policies, by what they are for: look, bake, terraform, rollout, state."
  value       = { for name, policy in aws_iam_policy.this : name => policy.arn }
}

output "permissions_boundary_arn" {
  description = "What instances may do at most, for permissions_boundary_arn of the environment."
  value       = aws_iam_policy.instances.arn
}

output "role_arn" {
  description = "Role that the Airflow connection assumes; null if nobody is trusted with it."
  value       = one(aws_iam_role.deployer[*].arn)
}
