output "fleets" {
  description = "What a deployment acts on, by fleet."
  value = {
    for name, fleet in module.fleet : name => {
      autoscaling_group  = fleet.autoscaling_group
      launch_template_id = fleet.launch_template_id
      termination_hook   = fleet.termination_hook
      drain_document     = module.drain.document_name
    }
  }
}

output "url" {
  description = "Address of the service."
  value       = module.load_balancer.url
}

output "dns_name" {
  description = "DNS name of the load balancer."
  value       = module.load_balancer.dns_name
}

output "target_group_arn" {
  description = "Target group of the load-balanced fleets."
  value       = module.load_balancer.target_group_arn
}

output "terminations_queue_url" {
  description = "Queue that tells of instances that wait to be drained."
  value       = module.drain.queue_url
}

output "terminations_topic_arn" {
  description = "Topic that tells people the same."
  value       = module.drain.topic_arn
}

output "drain_failures_topic_arn" {
  description = "Topic that tells people of instances that were retained or lost, as they could not be drained."
  value       = module.drain.failures_topic_arn
}
