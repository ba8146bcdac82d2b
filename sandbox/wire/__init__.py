"""Speaks AWS's protocols: from HTTP to the services and back."""
