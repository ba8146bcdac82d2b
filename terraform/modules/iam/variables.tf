variable "environment" {
  description = "Environment whose deployments may do this."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9_]{0,30}[a-z0-9])?$", var.environment))
    error_message = "environment must be 1 to 32 lower case letters, digits and underscores, a letter first, no underscore last."
  }

  # The states of terraform/access and of the network lie in folders of these names.
  validation {
    condition     = !contains(["access", "network"], var.environment)
    error_message = "environment must not be access or network."
  }
}

variable "region" {
  description = "Region of the environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's name, for example ap-northeast-1."
  }
}

variable "account_id" {
  description = "Account of the environment."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "state_bucket" {
  description = "Bucket of Terraform's state, journal, plans and releases: state_bucket in the environment's file."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "state_bucket must be 3 to 63 lower case letters, digits and hyphens."
  }
}

variable "trusted_arns" {
  description = "Who may assume the role for deployments: ARNs of Airflow's own roles or users. Empty: no role is made, and Airflow's identity is given the policies itself."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.trusted_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9_+=,.@/-]+$", arn))])
    error_message = "trusted_arns must be ARNs of IAM roles or users, for example arn:aws:iam::123456789012:role/airflow."
  }
}

variable "instance_actions" {
  description = "What the application's instances may do at most, besides answering SSM; their own policies (policy_arns of a fleet) grant it."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for action in var.instance_actions : can(regex("^[a-z0-9-]+:[A-Za-z*]+$", action)) && !can(regex("^(iam|organizations|sts|account):", action))])
    error_message = "instance_actions must be actions such as s3:GetObject, none of iam, organizations, sts or account."
  }
}

variable "instance_resources" {
  description = "On which resources they may do it."
  type        = set(string)
  default     = ["*"]

  validation {
    condition     = length(var.instance_resources) > 0 && alltrue([for arn in var.instance_resources : can(regex("^([*]|arn:.+)$", arn))])
    error_message = "instance_resources must be ARNs, or * for all."
  }
}

variable "instance_policy_arns" {
  description = "Managed policies that Terraform may attach to the instances' roles: those of policy_arns of the fleets."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.instance_policy_arns : can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", arn))])
    error_message = "instance_policy_arns must be ARNs of managed policies."
  }
}
