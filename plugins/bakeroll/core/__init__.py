"""What bakeroll knows, in plain Python: no Airflow here, boto3 clients are passed in."""
