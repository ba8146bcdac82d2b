"""Hooks: what bakeroll's core needs from Airflow's connections."""
