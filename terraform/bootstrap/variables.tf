variable "region" {
  description = "Region of the bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's name, for example ap-northeast-1."
  }
}

variable "account_id" {
  description = "Account the bucket belongs to; credentials of another account are refused."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "bucket_name" {
  description = "Name of the bucket: state_bucket in the environment's file below dags/environments."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name must be 3 to 63 lower case letters, digits and hyphens (a dot would break TLS)."
  }
}

variable "plan_expiration_days" {
  description = "Days after which a saved plan is deleted; a plan can contain secrets and is stale long before."
  type        = number
  default     = 14

  validation {
    condition     = var.plan_expiration_days >= 1 && floor(var.plan_expiration_days) == var.plan_expiration_days
    error_message = "plan_expiration_days must be a whole number of at least 1."
  }
}

variable "noncurrent_version_expiration_days" {
  description = "Days for which an overwritten or deleted object, such as an earlier state, can be brought back."
  type        = number
  default     = 90

  validation {
    condition = (
      var.noncurrent_version_expiration_days >= 1
      && floor(var.noncurrent_version_expiration_days) == var.noncurrent_version_expiration_days
    )
    error_message = "noncurrent_version_expiration_days must be a whole number of at least 1."
  }
}

variable "tls_only" {
  description = "Whether requests without TLS are refused; false only for an S3-compatible endpoint that has none."
  type        = bool
  default     = true
}
