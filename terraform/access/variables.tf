# The values are checked where they are used, in modules/iam.

variable "environment" {
  description = "Environment whose deployments may do this."
  type        = string
}

variable "region" {
  description = "Region of the environment."
  type        = string
}

variable "account_id" {
  description = "Account of the environment; credentials of another account are refused."
  type        = string
}

variable "state_bucket" {
  description = "Bucket of Terraform's state, journal, plans and releases: state_bucket in the environment's file."
  type        = string
}

variable "trusted_arns" {
  description = "Who may assume the role for deployments: ARNs of Airflow's own roles or users. Empty: no role is made, and Airflow's identity is given the policies itself."
  type        = set(string)
  default     = []
}

variable "instance_actions" {
  description = "What the application's instances may do at most, besides answering SSM; their own policies (policy_arns of a fleet) grant it."
  type        = set(string)
  default     = []
}

variable "instance_resources" {
  description = "On which resources they may do it."
  type        = set(string)
  default     = ["*"]
}

variable "instance_policy_arns" {
  description = "Managed policies that Terraform may attach to the instances' roles: those of policy_arns of the fleets."
  type        = set(string)
  default     = []
}
