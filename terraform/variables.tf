variable "region" {
  description = "Region of the network."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's name, for example ap-northeast-1."
  }
}

variable "account_id" {
  description = "Account the network belongs to; credentials of another account are refused."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "name" {
  description = "Name of the network: environments find it by the tag bakeroll:network with this value."
  type        = string
  default     = "bakeroll"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,31}$", var.name))
    error_message = "name must be 1 to 32 lower case letters, digits and hyphens, a letter first."
  }
}

variable "cidr_block" {
  description = "Address block of the VPC; each subnet takes a sixteenth of it."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition = try(
      can(cidrnetmask(var.cidr_block))
      && cidrsubnet(var.cidr_block, 0, 0) == var.cidr_block
      && tonumber(split("/", var.cidr_block)[1]) >= 16
      && tonumber(split("/", var.cidr_block)[1]) <= 24,
      false
    )
    error_message = "cidr_block must be an IPv4 block from /16 to /24, by its first address, for example 10.0.0.0/16."
  }
}

variable "availability_zone_count" {
  description = "Number of availability zones, each with a public and a private subnet. A load balancer needs two."
  type        = number
  default     = 2

  validation {
    condition     = contains([2, 3, 4], var.availability_zone_count)
    error_message = "availability_zone_count must be 2, 3 or 4."
  }
}

variable "nat_gateways" {
  description = "NAT gateways, the way of instances in private subnets to SSM and the log collector: single (one for all zones; its zone's failure cuts off all), per_zone, or none, for those who add VPC endpoints instead (README.md). Each is charged by the hour and by the gigabyte."
  type        = string
  default     = "single"

  validation {
    condition     = contains(["none", "single", "per_zone"], var.nat_gateways)
    error_message = "nat_gateways must be none, single or per_zone."
  }
}
