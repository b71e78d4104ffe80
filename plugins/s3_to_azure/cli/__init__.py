"""The command line: the engine without Airflow."""
