"""The command line, which copies without Airflow."""
