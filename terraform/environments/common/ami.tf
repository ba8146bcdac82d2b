# A person who runs Terraform by hand gets the newest image that was released for this environment, so that a
# manual apply after a rollback changes nothing. A deployment names its image.

data "aws_ami" "released" {
  count = var.application_ami_id == null ? 1 : 0

  owners      = ["self"]
  most_recent = true

  filter {
    name   = "tag:bakeroll:layer"
    values = ["application"]
  }

  filter {
    name   = "tag:bakeroll:${var.environment}"
    values = ["released"]
  }

  filter {
    name   = "state"
    values = ["available"]
  }
}

locals {
  application_ami_id = var.application_ami_id == null ? data.aws_ami.released[0].id : var.application_ami_id
}
