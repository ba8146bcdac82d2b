"""Three rolling deployments on this machine, from an empty AWS account to a table of what held."""
