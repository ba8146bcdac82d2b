variable "environment" {
  description = "Environment that the load balancer belongs to."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9_]{0,30}[a-z0-9])?$", var.environment))
    error_message = "environment must be 1 to 32 lower case letters, digits and underscores, a letter first, no underscore last."
  }
}

variable "name" {
  description = "Name of the load balancer and of its target group."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", var.name)) && !can(regex("^(internal|sg)-", var.name))
    error_message = "name must be 1 to 32 lower case letters, digits and hyphens, a letter first, no hyphen last, not internal-… or sg-…."
  }
}

variable "vpc_id" {
  description = "VPC of the load balancer and its targets."
  type        = string

  validation {
    condition     = can(regex("^vpc-[0-9a-f]{8,17}$", var.vpc_id))
    error_message = "vpc_id must be the id of a VPC, for example vpc-0123456789abcdef0."
  }
}

variable "subnet_ids" {
  description = "Subnets of the load balancer, in at least two availability zones."
  type        = list(string)

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 2 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]{8,17}$", id))])
    error_message = "subnet_ids must name subnets in at least two availability zones; in an environment: the network has fewer tagged bakeroll:subnet-tier = public."
  }
}

variable "internal" {
  description = "Whether the load balancer has private addresses only."
  type        = bool
  default     = false
}

variable "ingress_cidr_blocks" {
  description = "Who may connect to the load balancer."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = alltrue([for block in var.ingress_cidr_blocks : try(cidrsubnet(block, 0, 0) == block && can(cidrnetmask(block)), false)])
    error_message = "ingress_cidr_blocks must be IPv4 address blocks, for example 192.0.2.0/24, by their first address."
  }
}

variable "http_port" {
  description = "Port of the HTTP listener; with a certificate it only redirects to HTTPS."
  type        = number
  default     = 80

  validation {
    condition     = var.http_port >= 1 && var.http_port <= 65535 && floor(var.http_port) == var.http_port
    error_message = "http_port must be a port number."
  }

  validation {
    condition     = var.certificate_arn == null || var.http_port != 443
    error_message = "http_port must not be 443 where a certificate_arn is given: that is the port of HTTPS."
  }
}

variable "certificate_arn" {
  description = "Certificate of an HTTPS listener on port 443; null for HTTP alone."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:[a-z-]+:(acm|iam):", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM or IAM certificate."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the load balancer."
  type        = bool
  default     = false
}

variable "target_port" {
  description = "Port on which the instances serve HTTP."
  type        = number

  validation {
    condition     = var.target_port >= 1 && var.target_port <= 65535 && floor(var.target_port) == var.target_port
    error_message = "target_port must be a port number."
  }
}

variable "deregistration_delay_seconds" {
  description = "How long a target that leaves may finish the requests it has; longer than the longest request."
  type        = number
  default     = 60

  validation {
    condition = (
      var.deregistration_delay_seconds >= 0
      && var.deregistration_delay_seconds <= 3600
      && floor(var.deregistration_delay_seconds) == var.deregistration_delay_seconds
    )
    error_message = "deregistration_delay_seconds must be a whole number, 0 to 3600."
  }
}

variable "health_check" {
  description = "How the load balancer tells whether an instance can serve."
  type = object({
    path                = string
    interval_seconds    = optional(number, 15)
    timeout_seconds     = optional(number, 5)
    healthy_threshold   = optional(number, 2)
    unhealthy_threshold = optional(number, 2)
    matcher             = optional(string, "200")
  })

  validation {
    condition     = can(regex("^/[!-~]*$", var.health_check.path)) && length(var.health_check.path) <= 1024
    error_message = "health_check.path must begin with a slash and be at most 1024 characters without spaces."
  }

  validation {
    condition = (
      var.health_check.interval_seconds >= 5
      && var.health_check.interval_seconds <= 300
      && floor(var.health_check.interval_seconds) == var.health_check.interval_seconds
    )
    error_message = "health_check.interval_seconds must be a whole number, 5 to 300."
  }

  validation {
    condition = (
      var.health_check.timeout_seconds >= 2
      && var.health_check.timeout_seconds <= 120
      && var.health_check.timeout_seconds < var.health_check.interval_seconds
      && floor(var.health_check.timeout_seconds) == var.health_check.timeout_seconds
    )
    error_message = "health_check.timeout_seconds must be a whole number, 2 to 120, and less than interval_seconds."
  }

  validation {
    condition = alltrue([
      for threshold in [var.health_check.healthy_threshold, var.health_check.unhealthy_threshold] :
      threshold >= 2 && threshold <= 10 && floor(threshold) == threshold
    ])
    error_message = "health_check thresholds must be whole numbers, 2 to 10."
  }

  validation {
    condition     = can(regex("^[2-4][0-9]{2}([,-][2-4][0-9]{2})*$", var.health_check.matcher))
    error_message = "health_check.matcher must be HTTP codes from 200 to 499, for example 200, 200,202 or 200-299."
  }
}
