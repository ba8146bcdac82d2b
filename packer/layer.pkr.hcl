# One image layer. The layers differ only in their variables, their playbook and their tags, so one template makes
# all of them: base from the source AMI, application_base from base, application from application_base.
#
# It is written for Packer 1.6.6 (Debian 12) and every later one. What 1.6.6 does not know is left out on purpose:
#   - required_plugins: in plugins.pkr.hcl, which only Packer 1.7 and later is given;
#   - metadata_options and imds_support (Packer 1.7.1 and 1.8): IMDSv2 is required for the fleet by its launch
#     template; for the few minutes of a build, set it as the account's default
#     (aws ec2 modify-instance-metadata-defaults --http-tokens required).

# --- where ---------------------------------------------------------------------------------------------------------

variable "region" {
  type        = string
  description = "The region to build in and to keep the image in."
}

variable "custom_endpoint_ec2" {
  type        = string
  default     = ""
  description = "Address of the EC2 API; empty: AWS's own. Packer does not read AWS_ENDPOINT_URL."
}

variable "vpc_id" {
  type        = string
  default     = ""
  description = "The VPC to build in; empty: the default VPC."
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "The subnet to build in; empty: one of the default VPC."
}

variable "temporary_security_group_source_cidrs" {
  type        = list(string)
  description = "Who may reach the build instance's SSH port: the network that Packer runs in."

  validation {
    condition     = length(var.temporary_security_group_source_cidrs) > 0 && contains(var.temporary_security_group_source_cidrs, "0.0.0.0/0") == false
    error_message = "The build instance's SSH port must not be open to everybody: name the network that Packer runs in."
  }
}

# --- what ----------------------------------------------------------------------------------------------------------

variable "layer" {
  type        = string
  description = "The layer to build; also the name of its playbook and of its inventory group."

  validation {
    condition     = contains(["base", "application_base", "application"], var.layer)
    error_message = "The layer must be base, application_base or application."
  }
}

variable "source_ami" {
  type        = string
  description = "Id of the image to build from: the parent layer's, or the source AMI for base."

  validation {
    condition     = regex_replace(var.source_ami, "^ami-[0-9a-z]+$", "ok") == "ok"
    error_message = "The source AMI must be an image id such as ami-0123456789abcdef0."
  }
}

variable "image_name" {
  type        = string
  description = "Name of the image: <layer>-<first 16 digits of the fingerprint>-<n>."

  validation {
    condition     = regex_replace(var.image_name, "^[a-z_]+-[0-9a-f]{16}-[0-9]+$", "ok") == "ok"
    error_message = "The image name must be <layer>-<16 hex digits>-<n>."
  }
}

variable "tags" {
  type        = map(string)
  description = "Tags of the image, its snapshots and, as long as it runs, of the build instance."
}

variable "bake" {
  type        = string
  default     = ""
  description = "A token of this one bake, in tags and names of what it makes for itself; empty: none."

  validation {
    condition     = regex_replace(var.bake, "^[0-9a-f]*$", "ok") == "ok"
    error_message = "The bake's token must be hex digits."
  }
}

variable "environment" {
  type        = string
  default     = ""
  description = "The environment an application image belongs to; its group_vars are loaded. Empty for other layers."
}

variable "application_archive" {
  type        = string
  default     = ""
  description = "A .tar.gz of the application's files; application layer only. Only its name is passed on."
}

variable "application_commit" {
  type        = string
  default     = ""
  description = "The commit to deploy; application layer only."

  validation {
    condition     = var.application_commit == "" || regex_replace(var.application_commit, "^[0-9a-f]{40}$", "ok") == "ok"
    error_message = "The application's commit must be 40 hex digits."
  }
}

# --- how -----------------------------------------------------------------------------------------------------------

variable "instance_type" {
  type        = string
  description = "Instance type of the build instance."
}

variable "ssh_username" {
  type        = string
  description = "The user that the source AMI lets in with the instance's key pair."
}

variable "ssh_interface" {
  type        = string
  description = "The address Packer and Ansible connect to."

  validation {
    condition     = contains(["private_ip", "public_ip", "private_dns", "public_dns"], var.ssh_interface)
    error_message = "The SSH interface must be private_ip, public_ip, private_dns or public_dns."
  }
}

variable "poll_delay_seconds" {
  type        = number
  description = "Pause between two looks at an instance or image that is not ready yet, in seconds."
}

variable "poll_max_attempts" {
  type        = number
  description = "Looks until the build is given up."
}

variable "vault_password_file" {
  type        = string
  default     = ""
  description = "File that holds the Ansible Vault password; empty: nothing is encrypted. Only its name is passed on."
}

variable "extra_vars_file" {
  type        = string
  default     = ""
  description = "JSON or YAML file with further Ansible variables; empty: none. Only its name is passed on."
}

variable "manifest" {
  type        = string
  description = "File to write the result to."
}

locals {
  galaxy              = yamldecode(file("${path.root}/provisioners/requirements.yml"))
  galaxy_requirements = length(local.galaxy.roles) + length(local.galaxy.collections)
  provisioners        = "${abspath(path.root)}/provisioners"

  # With these a person, or a later run, finds what a killed build left behind. The key pair's name has to be the
  # one that plugins/bakeroll/core/layers/left_overs.py looks for.
  bake_tags  = var.bake == "" ? {} : { "bakeroll:bake" = var.bake }
  build_tags = merge(var.tags, local.bake_tags, { Name = "packer ${var.image_name}" })
  key_pair   = var.bake == "" ? "" : "packer_${var.image_name}_${var.bake}"

  # base and application_base are shared by all environments, so they see no environment's variables.
  groups = var.layer == "application" ? [var.layer, var.environment] : [var.layer]
}

source "amazon-ebs" "layer" {
  region              = var.region
  custom_endpoint_ec2 = var.custom_endpoint_ec2

  # Of calls that are throttled. More than 11 would not do: Packer's look at whether the image's name is free counts 11
  # retries before its first call, so it is not tried again, and with more it would be, five minutes later. bakeroll
  # starts such a build anew.
  max_retries = 10

  ami_name        = var.image_name
  ami_description = "bakeroll layer ${var.layer}"
  source_ami      = var.source_ami
  tags            = var.tags
  snapshot_tags   = var.tags

  instance_type                         = var.instance_type
  vpc_id                                = var.vpc_id
  subnet_id                             = var.subnet_id
  temporary_security_group_source_cidrs = var.temporary_security_group_source_cidrs
  run_tags                              = local.build_tags
  run_volume_tags                       = local.build_tags

  communicator  = "ssh"
  ssh_username  = var.ssh_username
  ssh_interface = var.ssh_interface
  ssh_timeout   = "5m"

  temporary_key_pair_name = local.key_pair
  # The key pair is Packer's own and is gone after the build; nobody should find its public half in the image.
  ssh_clear_authorized_keys = true

  aws_polling {
    delay_seconds = var.poll_delay_seconds
    max_attempts  = var.poll_max_attempts
  }
}

build {
  sources = ["source.amazon-ebs.layer"]

  provisioner "ansible" {
    playbook_file = "${local.provisioners}/${var.layer}.yml"
    groups        = local.groups
    user          = var.ssh_username

    # Straight to the instance: Packer 1.6's own SSH proxy offers a host key that today's OpenSSH refuses.
    use_proxy = false

    # Nothing is fetched where nothing is asked for.
    galaxy_file      = local.galaxy_requirements > 0 ? "${local.provisioners}/requirements.yml" : ""
    roles_path       = "${local.provisioners}/.galaxy/roles"
    collections_path = "${local.provisioners}/.galaxy/collections"

    # Arguments are seen by every user of this machine and printed to the log: file names only.
    extra_arguments = var.extra_vars_file == "" ? [] : ["--extra-vars", "@${var.extra_vars_file}"]
    ansible_env_vars = concat(
      [
        "ANSIBLE_CONFIG=${local.provisioners}/ansible.cfg",
        "ANSIBLE_NOCOLOR=1",
        "PYTHONUNBUFFERED=1",
        "BUILD_REGION=${var.region}",
        "APPLICATION_ARCHIVE=${var.application_archive}",
        "APPLICATION_COMMIT=${var.application_commit}",
        # Packer's, for AWS, and nobody else's: what a playbook read there would be in no fingerprint either.
        "AWS_ACCESS_KEY_ID=",
        "AWS_SECRET_ACCESS_KEY=",
        "AWS_SESSION_TOKEN=",
      ],
      var.vault_password_file == "" ? [] : ["ANSIBLE_VAULT_PASSWORD_FILE=${var.vault_password_file}"],
    )
  }

  post-processor "manifest" {
    output     = var.manifest
    strip_path = true
    custom_data = {
      layer = var.layer
    }
  }
}
