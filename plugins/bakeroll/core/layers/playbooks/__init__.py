"""What a playbook reaches: the files behind its roles, includes, variables, templates and lookups."""
