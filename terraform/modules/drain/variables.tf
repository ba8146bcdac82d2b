variable "environment" {
  description = "Environment whose terminating instances are drained."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9_]{0,30}[a-z0-9])?$", var.environment))
    error_message = "environment must be 1 to 32 lower case letters, digits and underscores, a letter first, no underscore last."
  }

  # SSM keeps them for its own documents.
  validation {
    condition     = !can(regex("^(aws|amazon|amzn)", var.environment))
    error_message = "environment must not begin with aws, amazon or amzn."
  }
}

variable "autoscaling_group_names" {
  description = "Auto Scaling groups whose terminations are told to the queue and the topic."
  type        = set(string)

  validation {
    condition     = length(var.autoscaling_group_names) > 0 && alltrue([for name in var.autoscaling_group_names : length(name) >= 1 && length(name) <= 255])
    error_message = "autoscaling_group_names must name at least one group, each by 1 to 255 characters."
  }
}

variable "rpc_endpoint" {
  description = "Fluentd's RPC endpoint, as seen on an instance."
  type        = string
  default     = "http://localhost:24444"

  validation {
    condition     = can(regex("^http://[A-Za-z0-9.-]+:[1-9][0-9]{0,4}$", var.rpc_endpoint)) && try(tonumber(regex("[0-9]+$", var.rpc_endpoint)) <= 65535, false)
    error_message = "rpc_endpoint must look like http://localhost:24444."
  }
}

variable "monitor_endpoint" {
  description = "Fluentd's monitor agent, as seen on an instance."
  type        = string
  default     = "http://localhost:24220"

  validation {
    condition     = can(regex("^http://[A-Za-z0-9.-]+:[1-9][0-9]{0,4}$", var.monitor_endpoint)) && try(tonumber(regex("[0-9]+$", var.monitor_endpoint)) <= 65535, false)
    error_message = "monitor_endpoint must look like http://localhost:24220."
  }
}

variable "position_files" {
  description = "Position files of Fluentd's tail inputs: shell patterns, separated by spaces; empty where nothing is tailed."
  type        = string
  default     = "/var/log/fluentd/*.pos"

  validation {
    condition     = can(regex("^(/[A-Za-z0-9_./*?-]*( /[A-Za-z0-9_./*?-]*)*)?$", var.position_files))
    error_message = "position_files must be absolute paths or shell patterns, separated by single spaces."
  }
}
