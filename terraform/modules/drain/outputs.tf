output "document_name" {
  description = "SSM document that drains an instance."
  value       = aws_ssm_document.drain.name
}

output "queue_url" {
  description = "Queue of termination lifecycle actions; a wake-up call, not a record."
  value       = aws_sqs_queue.terminations.url
}

output "queue_arn" {
  description = "ARN of that queue."
  value       = aws_sqs_queue.terminations.arn
}

output "topic_arn" {
  description = "Topic of termination lifecycle actions, for people to subscribe to."
  value       = aws_sns_topic.terminations.arn
}

output "failures_topic_arn" {
  description = "Topic of instances that could not be drained, for people to subscribe to."
  value       = aws_sns_topic.failures.arn
}
