"""Programs that docker-compose.yaml runs beside Airflow."""
