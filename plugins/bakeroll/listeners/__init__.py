"""Listeners: what Airflow's scheduler tells bakeroll of."""
