"""bakeroll: immutable rolling deployment on AWS, run by Apache Airflow."""
