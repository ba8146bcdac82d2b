"""Operators: each starts one step of core in an Airflow task."""
