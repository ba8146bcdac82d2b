"""Triggers: they look, and wake the operator when there is something to do."""
