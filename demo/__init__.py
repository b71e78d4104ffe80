"""The main job on a machine without clouds: local S3 and Azure, real Airflow, the real DAG, two nights."""
