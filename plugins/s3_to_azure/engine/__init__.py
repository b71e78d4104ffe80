"""The copy itself, without Airflow and without an SDK: plan, read, stage, prove, commit."""
