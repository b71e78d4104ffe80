"""The migration on one machine without clouds: a local S3 and Azure, real Airflow, and the real DAG, run twice."""
