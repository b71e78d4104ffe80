"""The Migration and the history page in Airflow's UI: they read only Airflow's database, never S3 or Azure."""
