"""Sensors: what is waited for without a worker slot."""
