"""What notifiers of Airflow's providers say about a run, by the template of docs/operations.md."""

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG

from s3_to_azure import notifications
from s3_to_azure.airflow.migration import verdict as module
from s3_to_azure.dag import migration_dag
from tests.docs.pages import text_of

_REPORT = {"plan": "1", "verdict": "All 2 objects are accounted for: 2 copied and proven"}


def _context(dag: DAG) -> Any:
    pull = {("report", "return_value"): _REPORT, ("plan", "plan"): {"plan": "1"}}
    instance = SimpleNamespace(
        task_id="check_report", xcom_pull=lambda *, task_ids, key="return_value": pull.get((task_ids, key))
    )
    return {"dag": dag, "ti": instance}


def test_a_mail_has_the_verdict_in_its_subject() -> None:
    """A DAG of ``migration_dag`` has the macro, and keeps those of its author."""
    dag = migration_dag("told", "s3://bucket/in/", "az://container/", user_defined_macros={"team": "data"})
    mail = SmtpNotifier(to="x@example.org", subject="{{ team }}: {{ dag.dag_id }}: {{ verdict() }}", html_content="")
    mail.render_template_fields(_context(dag))
    assert mail.subject == f"data: told: {_REPORT['verdict']}."


def test_a_dag_of_ones_own_takes_the_macro() -> None:
    """Under any name; a callback of one's own calls the function."""
    assert notifications.verdict is module.verdict
    dag = DAG("own", schedule=None, user_defined_macros={"result": notifications.template_verdict})
    mail = SmtpNotifier(to="x@example.org", subject="{{ result() }}", html_content="")
    context = _context(dag) | {"exception": ValueError("a reason")}
    mail.render_template_fields(context)
    assert mail.subject == "The task check_report failed: a reason"


@pytest.mark.parametrize("name", ["SlackWebhookNotifier", "SmtpNotifier", "{{ verdict() }}", "check_report"])
def test_the_page_has_the_examples(name: str) -> None:
    """With the providers' own notifiers."""
    assert name in text_of("docs/operations.md")
