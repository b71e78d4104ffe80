"""What runs inside Airflow: connections, tasks, progress, links. Public import paths are one level above."""
