"""From Airflow connection ids to the stores: every auth method of the hooks, nothing of their transfers.

Only the hooks' session and client are taken, so whatever they can sign in with works here. Heavy to import, each side
with its SDK: tasks import the side they use when they run, and nobody imports them when a DAG is parsed.
"""
