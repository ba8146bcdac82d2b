output "autoscaling_group" {
  description = "Name of the Auto Scaling group."
  value       = aws_autoscaling_group.this.name
}

output "launch_template_id" {
  description = "Id of the launch template."
  value       = aws_launch_template.this.id
}

output "termination_hook" {
  description = "Name of the hook that holds terminating instances."
  value       = aws_autoscaling_lifecycle_hook.termination.name
}

output "role_name" {
  description = "Role of the instances, to attach policies to."
  value       = aws_iam_role.this.name
}

output "security_group_id" {
  description = "Security group of the instances."
  value       = aws_security_group.this.id
}
