# What holds for every layer.
ssh_username = "admin" # the user of Debian's cloud images

# Packer runs inside the network it builds in. Where it does not: "public_ip", and the addresses it comes from.
ssh_interface = "private_ip"
temporary_security_group_source_cidrs = [
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
]

# Together an hour: an image of a large volume takes long, an image that is ready is seen soon.
poll_delay_seconds = 1
poll_max_attempts  = 3600
