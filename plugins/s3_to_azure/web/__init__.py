"""The Migration and the history page in Airflow's UI: they read Airflow's database, and a run's report if allowed."""
