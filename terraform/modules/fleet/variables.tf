variable "environment" {
  description = "Environment the fleet belongs to."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9_]{0,30}[a-z0-9])?$", var.environment))
    error_message = "environment must be 1 to 32 lower case letters, digits and underscores, a letter first, no underscore last."
  }

  # The security group has the fleet's name.
  validation {
    condition     = var.environment != "sg"
    error_message = "environment must not be sg, as no name of a security group may begin with sg-."
  }
}

variable "name" {
  description = "Name of the fleet; the Auto Scaling group is called <environment>-<name>."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,31}$", var.name))
    error_message = "a fleet's name must be 1 to 32 lower case letters, digits and underscores, a letter first."
  }

  validation {
    condition     = length(var.environment) + length(var.name) <= 63
    error_message = "the names of environment and fleet must have at most 63 characters together: the instances' IAM role is called <environment>-<name>, and AWS takes 64."
  }
}

variable "image_id" {
  description = "Image that new instances are launched from."
  type        = string

  validation {
    condition     = can(regex("^ami-[0-9a-z]{8,17}$", var.image_id))
    error_message = "image_id must be the id of an image, for example ami-0123456789abcdef0."
  }
}

variable "instance_type" {
  description = "Instance type; its architecture must be the image's."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type must be an EC2 instance type, for example t3.small."
  }
}

variable "vpc_id" {
  description = "VPC of the instances."
  type        = string

  validation {
    condition     = can(regex("^vpc-[0-9a-f]{8,17}$", var.vpc_id))
    error_message = "vpc_id must be the id of a VPC, for example vpc-0123456789abcdef0."
  }
}

variable "subnet_ids" {
  description = "Subnets of the instances; each needs a way to SSM (NAT gateway or VPC endpoints)."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]{8,17}$", id))])
    error_message = "subnet_ids must name at least one subnet; in an environment: the network has no subnet tagged bakeroll:subnet-tier = private."
  }
}

variable "min_size" {
  description = "Fewest instances outside deployments."
  type        = number

  validation {
    condition     = var.min_size >= 0 && floor(var.min_size) == var.min_size
    error_message = "min_size must be a whole number, 0 or more."
  }
}

variable "max_size" {
  description = "Most instances outside deployments; a deployment raises it for its own surge."
  type        = number

  validation {
    condition     = var.max_size >= var.min_size && floor(var.max_size) == var.max_size
    error_message = "max_size must be a whole number and at least min_size."
  }
}

variable "min_size_floor" {
  description = "Minimum that an open deployment needs: it may raise min_size, never lower it."
  type        = number
  default     = 0

  validation {
    condition     = var.min_size_floor >= 0 && floor(var.min_size_floor) == var.min_size_floor
    error_message = "min_size_floor must be a whole number, 0 or more."
  }
}

variable "max_size_floor" {
  description = "Maximum that an open deployment needs: it may raise max_size, never lower it."
  type        = number
  default     = 0

  validation {
    condition     = var.max_size_floor >= 0 && floor(var.max_size_floor) == var.max_size_floor
    error_message = "max_size_floor must be a whole number, 0 or more."
  }
}

variable "load_balancer" {
  description = "Where the instances are registered, null for none: target group, port they serve on, and who may connect to it."
  type = object({
    target_group_arn  = string
    security_group_id = string
    target_port       = number
  })
  default = null

  validation {
    condition     = var.load_balancer == null || can(regex("^arn:[a-z-]+:elasticloadbalancing:[^:]+:[0-9]{12}:targetgroup/", var.load_balancer.target_group_arn))
    error_message = "load_balancer.target_group_arn must be the ARN of a target group."
  }

  validation {
    condition     = var.load_balancer == null || can(regex("^sg-[0-9a-f]{8,17}$", var.load_balancer.security_group_id))
    error_message = "load_balancer.security_group_id must be the id of a security group."
  }

  validation {
    condition = var.load_balancer == null ? true : (
      var.load_balancer.target_port >= 1
      && var.load_balancer.target_port <= 65535
      && floor(var.load_balancer.target_port) == var.load_balancer.target_port
    )
    error_message = "load_balancer.target_port must be a port number."
  }
}

variable "health_check_grace_period_seconds" {
  description = "How long a new instance may take until its health counts against it."
  type        = number
  default     = 120

  validation {
    condition = (
      var.health_check_grace_period_seconds >= 0
      && floor(var.health_check_grace_period_seconds) == var.health_check_grace_period_seconds
    )
    error_message = "health_check_grace_period_seconds must be a whole number, 0 or more."
  }
}

variable "termination_hook" {
  description = "Hook that holds a terminating instance until it is drained. default_result ABANDON keeps it when nobody drained it in time, given the group's instance lifecycle policy says so."
  type = object({
    name                      = string
    heartbeat_timeout_seconds = number
    default_result            = string
  })

  validation {
    condition     = can(regex("^[A-Za-z0-9_/-]{1,255}$", var.termination_hook.name))
    error_message = "termination_hook.name must be 1 to 255 letters, digits, hyphens, underscores and slashes."
  }

  validation {
    condition = (
      var.termination_hook.heartbeat_timeout_seconds >= 30
      && var.termination_hook.heartbeat_timeout_seconds <= 7200
      && floor(var.termination_hook.heartbeat_timeout_seconds) == var.termination_hook.heartbeat_timeout_seconds
    )
    error_message = "termination_hook.heartbeat_timeout_seconds must be a whole number, 30 to 7200."
  }

  validation {
    condition     = contains(["ABANDON", "CONTINUE"], var.termination_hook.default_result)
    error_message = "termination_hook.default_result must be ABANDON or CONTINUE."
  }
}

variable "root_volume" {
  description = "The encrypted root volume; device_name must be the image's root device."
  type = object({
    device_name = optional(string, "/dev/xvda")
    size_gib    = optional(number, 20)
    type        = optional(string, "gp3")
  })
  default = {}

  validation {
    condition = (
      var.root_volume.size_gib >= 1
      && var.root_volume.size_gib <= 16384
      && floor(var.root_volume.size_gib) == var.root_volume.size_gib
    )
    error_message = "root_volume.size_gib must be a whole number, 1 to 16384."
  }

  validation {
    condition     = can(regex("^/dev/[a-z0-9/]+$", var.root_volume.device_name))
    error_message = "root_volume.device_name must be the image's root device, for example /dev/xvda."
  }

  # io1 and io2 would need a number of IOPS, and st1 and sc1 are no boot volumes.
  validation {
    condition     = contains(["gp2", "gp3", "standard"], var.root_volume.type)
    error_message = "root_volume.type must be gp2, gp3 or standard."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that says what the instances may do at most, null for none: permissions_boundary_arn of modules/iam."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a managed policy."
  }
}

variable "policy_arns" {
  description = "IAM policies the instances have besides those of the SSM agent, by a name of your choice."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for arn in values(var.policy_arns) : can(regex("^arn:[a-z-]+:iam::(aws|[0-9]{12}):policy/", arn))])
    error_message = "policy_arns must map names to ARNs of IAM policies."
  }
}

variable "tags" {
  description = "Tags of the instances and their volumes; those named Name and bakeroll:… are made here."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : can(regex("^[\\pL\\pZ\\pN_.:/=+@-]{1,128}$", key))])
    error_message = "tags must have keys of 1 to 128 letters, digits, spaces and _.:/=+@-."
  }

  validation {
    condition     = !anytrue([for key in keys(var.tags) : can(regex("^([Aa][Ww][Ss]:|bakeroll:|Name$)", key))])
    error_message = "tags must not be called Name, nor begin with aws: (AWS's own) or bakeroll: (made here)."
  }

  validation {
    condition     = alltrue([for value in values(var.tags) : can(regex("^[\\pL\\pZ\\pN_.:/=+@-]{0,256}$", value))])
    error_message = "tags must have values of at most 256 letters, digits, spaces and _.:/=+@-."
  }
}
