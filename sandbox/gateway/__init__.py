"""Reaches the part of the account that moto carries."""
