"""What notifications say about a migration: its result in one sentence.

::

    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

    tell = SlackWebhookNotifier(slack_webhook_conn_id="slack", text="{{ dag.dag_id }}: {{ verdict() }}")
    migration_dag(
        ...,
        task_arguments={"check_report": {"on_success_callback": tell, "on_failure_callback": tell}},
    )

The task ``check_report`` is the last one of each run, also if an earlier task failed. A DAG of your own, without
``migration_dag``, takes ``user_defined_macros={"verdict": template_verdict}``.
"""

from s3_to_azure.airflow.migration.verdict import template_verdict, verdict

__all__ = ["template_verdict", "verdict"]
