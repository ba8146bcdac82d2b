variable "region" {
  description = "Region of the environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's name, for example ap-northeast-1."
  }
}

variable "account_id" {
  description = "Account the environment belongs to; credentials of another account are refused."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "environment" {
  description = "Name of the environment: the name of its file below dags/environments."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9_]{0,30}[a-z0-9])?$", var.environment))
    error_message = "environment must be 1 to 32 lower case letters, digits and underscores, a letter first, no underscore last (a load balancer's name ends in a letter or digit)."
  }

  # SSM keeps the first three for its own documents, load balancers and security groups may not begin with the others.
  validation {
    condition     = !can(regex("^(aws|amazon|amzn|internal_|sg_|sg$)", var.environment))
    error_message = "environment must not begin with aws, amazon, amzn, internal_ or sg_, nor be sg."
  }

  # The states of terraform/access and of the network lie in folders of these names.
  validation {
    condition     = !contains(["access", "network"], var.environment)
    error_message = "environment must not be access or network."
  }
}

variable "network" {
  description = "Value of the tag bakeroll:network on the VPC; its subnets are told apart by the tag bakeroll:subnet-tier (public or private). terraform/vpc.tf makes such a network."
  type        = string
  default     = "bakeroll"

  # * and ? would stand for other characters in the filter.
  validation {
    condition     = can(regex("^[A-Za-z0-9 _.:/=+@-]{1,256}$", var.network))
    error_message = "network must be a tag's value: 1 to 256 letters, digits, spaces and _.:/=+@-."
  }
}

variable "application_ami_id" {
  description = "Application image of the fleets; null for the newest one released for this environment."
  type        = string
  default     = null

  validation {
    condition     = var.application_ami_id == null || can(regex("^ami-[0-9a-z]{8,17}$", var.application_ami_id))
    error_message = "application_ami_id must be the id of an image, for example ami-0123456789abcdef0."
  }
}

variable "min_size_floor" {
  description = "Fleet => minimum that an open deployment needs; a fleet that is not named has none."
  type        = map(number)
  default     = {}

  # The values are checked where they are used, in modules/fleet.
  validation {
    condition     = length(setsubtract(keys(var.min_size_floor), keys(var.fleets))) == 0
    error_message = "min_size_floor names a fleet that is not in fleets."
  }
}

variable "max_size_floor" {
  description = "Fleet => maximum that an open deployment needs; a fleet that is not named has none."
  type        = map(number)
  default     = {}

  # The values are checked where they are used, in modules/fleet.
  validation {
    condition     = length(setsubtract(keys(var.max_size_floor), keys(var.fleets))) == 0
    error_message = "max_size_floor names a fleet that is not in fleets."
  }
}

variable "fleets" {
  description = "Auto Scaling groups that run the application image, by name. on_failure is drain.on_failure of this fleet alone."
  type = map(object({
    instance_type                     = string
    min_size                          = number
    max_size                          = number
    load_balanced                     = optional(bool, true)
    on_failure                        = optional(string)
    health_check_grace_period_seconds = optional(number, 120)
    policy_arns                       = optional(map(string), {})
    root_volume = optional(object({
      device_name = optional(string, "/dev/xvda")
      size_gib    = optional(number, 20)
      type        = optional(string, "gp3")
    }), {})
  }))

  # Names and values are checked where they are used, in modules/fleet.
  validation {
    condition     = length(var.fleets) > 0
    error_message = "fleets must name at least one fleet."
  }

  validation {
    condition     = alltrue([for fleet in values(var.fleets) : fleet.on_failure == null ? true : contains(["retain", "continue"], fleet.on_failure)])
    error_message = "on_failure of a fleet must be retain or continue."
  }
}

variable "load_balancer" {
  description = "The environment's load balancer, and how its targets are checked."
  type = object({
    target_port                  = number
    http_port                    = optional(number, 80)
    certificate_arn              = optional(string)
    internal                     = optional(bool, false)
    ingress_cidr_blocks          = optional(list(string), ["0.0.0.0/0"])
    deletion_protection          = optional(bool, false)
    deregistration_delay_seconds = optional(number, 60)
    health_check = object({
      path                = string
      interval_seconds    = optional(number, 15)
      timeout_seconds     = optional(number, 5)
      healthy_threshold   = optional(number, 2)
      unhealthy_threshold = optional(number, 2)
      matcher             = optional(string, "200")
    })
  })

  # The other values are checked where they are used, in modules/load_balancer.
  validation {
    condition     = startswith(var.load_balancer.health_check.path, "/")
    error_message = "load_balancer.health_check.path must begin with a slash."
  }
}

variable "drain" {
  description = "How terminating instances are held and emptied. heartbeat_timeout_seconds is how long one waits until somebody begins; drains outside deployments start within five minutes, so it must be longer. on_failure is what becomes of an instance that could not be drained: retain keeps it for a person, continue terminates it; fleets.<name>.drain.on_failure in the environment's file must say the same."
  type = object({
    heartbeat_timeout_seconds = optional(number, 900)
    on_failure                = optional(string, "retain")
    rpc_endpoint              = optional(string, "http://localhost:24444")
    monitor_endpoint          = optional(string, "http://localhost:24220")
    position_files            = optional(string, "/var/log/fluentd/*.pos")
  })
  default = {}

  # The other values are checked where they are used, in modules/fleet and modules/drain.
  validation {
    condition     = var.drain.heartbeat_timeout_seconds > 300
    error_message = "drain.heartbeat_timeout_seconds must be more than 300."
  }

  validation {
    condition     = contains(["retain", "continue"], var.drain.on_failure)
    error_message = "drain.on_failure must be retain or continue."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that says what instances may do at most, null for none: output permissions_boundary_arn of terraform/access, whose policies ask for it."
  type        = string
  default     = null

  # The value is checked where it is used, in modules/fleet.
}

variable "tags" {
  description = "More tags for instances and their volumes; those named Name and bakeroll:… are made here."
  type        = map(string)
  default     = {}

  # The keys and values are checked where they are used, in modules/fleet.
  validation {
    condition     = length(var.tags) <= 47
    error_message = "tags must be at most 47, as three are made here and AWS takes 50."
  }
}
