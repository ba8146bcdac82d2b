output "arn" {
  description = "ARN of the load balancer."
  value       = aws_lb.this.arn
}

output "dns_name" {
  description = "DNS name of the load balancer."
  value       = aws_lb.this.dns_name
}

output "zone_id" {
  description = "Hosted zone of the DNS name, for alias records."
  value       = aws_lb.this.zone_id
}

output "url" {
  description = "Address of the service."
  value = (
    local.https ? "https://${aws_lb.this.dns_name}/" : "http://${aws_lb.this.dns_name}:${var.http_port}/"
  )
}

output "security_group_id" {
  description = "Security group of the load balancer."
  value       = aws_security_group.this.id
}

output "target_group_arn" {
  description = "Target group that the fleets register with."
  value       = aws_lb_target_group.this.arn

  # Targets of a group that no listener uses are never checked, nor are those that the load balancer may not connect
  # to: a fleet must not start before these, and they must outlive it.
  depends_on = [aws_lb_listener.http, aws_lb_listener.https, aws_vpc_security_group_egress_rule.targets]
}
