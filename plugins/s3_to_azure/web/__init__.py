"""The Migration and the history page in Airflow's UI: they read Airflow's database, and touch no cloud."""
