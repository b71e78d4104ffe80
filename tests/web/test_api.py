"""The pages' data on Airflow's own API server: permissions, content, and the number of queries."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow import settings
from azure.storage.blob import BlobServiceClient
from fastapi.routing import APIRoute
from sqlalchemy import event
from sqlalchemy import text as sql

from local_cloud.servers import LocalAzure
from s3_to_azure.model.names import folder_name
from s3_to_azure.state.failures import FailureLine, add_failure
from s3_to_azure.state.lines import LinesWriter
from s3_to_azure.stores.azure.state import AzureState
from s3_to_azure.web import queries
from s3_to_azure.web.airflow_internals import requires_access_dag
from s3_to_azure.web.api import web_app
from tests.web.airflow_rows import GIB, RunRows, add_dag, progress_record, report_summary
from tests.web.hostile_values import EVIL, HOSTILE
from tests.web.one_dag_each import NO_RESULTS, READER_OF_ALL

Clients = Callable[[str | None], Any]


def migration_path(run: RunRows) -> str:
    """Return the address of a run's data."""
    return f"/s3_to_azure/api/dags/{run.dag_id}/migration"


@contextmanager
def counted_selects() -> Iterator[list[str]]:
    """Collect the statements that are sent to the database meanwhile."""
    statements: list[str] = []

    def keep(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(settings.engine, "before_cursor_execute", keep)
    try:
        yield statements
    finally:
        event.remove(settings.engine, "before_cursor_execute", keep)


@pytest.fixture
def mine(session: Any) -> RunRows:
    """Return a run of the DAG ``mine``: three batches: one done, one running, one with a failed object."""
    add_dag(session, "mine")
    add_dag(session, "other")
    run = RunRows(session, "mine")
    run.plan(3)
    run.copy(
        0,
        progress=progress_record(bytes_sent=GIB, bytes_resumed=0),
        xcoms={"return_value": {"objects": 4, "size_bytes": GIB}},
    )
    run.copy(1, state="running", progress=progress_record(), label="4 objects, 1.0 GiB")
    run.copy(
        2, state="up_for_retry", progress=progress_record(objects_failed=1, failures=[{"key": EVIL, "reason": EVIL}])
    )
    return run.done()


def test_without_a_login_there_is_no_data(client_of: Clients, mine: RunRows) -> None:
    """Every data route answers 401."""
    client = client_of(None)
    for path in (migration_path(mine), "/s3_to_azure/api/history"):
        assert client.get(path, params={"run_id": mine.run_id}).status_code == 401


def test_only_readers_of_the_dag_see_its_run(client_of: Clients, mine: RunRows) -> None:
    """A user of another DAG gets 403, also with a permitted DAG in the query."""
    assert client_of("reader_of_mine").get(migration_path(mine), params={"run_id": mine.run_id}).status_code == 200
    other = client_of("reader_of_other")
    for trick in ({}, {"dag_id": "other"}):
        answer = other.get(migration_path(mine), params={"run_id": mine.run_id, **trick})
        assert answer.status_code == 403
        assert mine.run_id not in answer.text
    # The right to one DAG opens no run of another.
    assert other.get("/s3_to_azure/api/dags/other/migration", params={"run_id": mine.run_id}).status_code == 404


def test_results_need_their_own_right(client_of: Clients, session: Any) -> None:
    """A user who may read a DAG but not its XComs sees neither the run's page nor its history."""
    add_dag(session, NO_RESULTS)
    run = RunRows(session, NO_RESULTS, state="success")
    run.report()
    run.done()
    client = client_of(f"reader_of_{NO_RESULTS}")
    assert client.get(migration_path(run), params={"run_id": run.run_id}).status_code == 403
    assert client.get("/s3_to_azure/api/history").json()["runs"] == []


def test_every_dag_route_checks_permissions() -> None:
    """No route with a DAG in its path can be added without the check."""
    check = requires_access_dag("GET").__code__
    routes = [route for route in web_app().routes if isinstance(route, APIRoute)]
    data = {
        "/api/dags/{dag_id}/migration",
        "/api/dags/{dag_id}/failures",
        "/api/dags/{dag_id}/report.csv",
        "/api/history",
    }
    assert {route.path for route in routes} == data
    for route in routes:
        assert route.methods == {"GET"}
        if "dag_id" in route.path:
            calls = [dependency.call for dependency in route.dependant.dependencies]
            assert sum(getattr(call, "__code__", None) is check for call in calls) == 2


def test_a_running_run(client_of: Clients, mine: RunRows) -> None:
    """Totals, rates, tasks and failures come from the plan and the tasks' progress."""
    view = client_of("reader_of_mine").get(migration_path(mine), params={"run_id": mine.run_id}).json()
    assert (view["phase"], view["is_migration"]) == ("copying", True)
    assert view["source"] == {"bucket": "source", "prefix": "nightly/"}
    assert view["destination"] == {"container": "target", "prefix": ""}
    totals = view["totals"]
    assert (totals["objects_total"], totals["objects_done"], totals["objects_failed"]) == (12, 8, 1)
    assert (totals["bytes_total"], totals["bytes_done"]) == (3 * GIB, 2 * GIB)
    assert view["tasks"] == {"done": 1, "running": 1, "waiting_to_retry": 1}
    assert (view["bytes_per_second"], view["seconds_left"]) == (1024**2, 1024)
    assert [batch["map_index"] for batch in view["batches"]] == [0, 1, 2]
    assert view["throughput"]["bytes_per_second"]
    # A key is returned unchanged, in JSON, which no browser renders.
    path = migration_path(mine).replace("/migration", "/failures")
    (failed,) = client_of("reader_of_mine").get(path, params={"run_id": mine.run_id}).json()["rows"]
    assert (failed["key"], failed["reason"], failed["map_index"], failed["will_retry"]) == (EVIL, EVIL, 2, True)


def test_the_page_says_what_the_user_may_do(client_of: Clients, mine: RunRows) -> None:
    """As Airflow's own API answers: a reader may neither clear tasks nor start a run."""
    clear = {"dag_run_id": mine.run_id, "task_ids": [["copy", 2]], "dry_run": True}
    for user, may, refused in (("reader_of_mine", False, True), ("operator_of_mine", True, False)):
        client = client_of(user)
        view = client.get(migration_path(mine), params={"run_id": mine.run_id}).json()
        assert view["actions"]["may"] == {"clear": may, "trigger": may, "download": False}
        answers = [
            client.post("/api/v2/dags/mine/clearTaskInstances", json=clear),
            client.post("/api/v2/dags/mine/dagRuns", json={"logical_date": None}),
        ]
        assert [answer.status_code == 403 for answer in answers] == [refused, refused]


def test_the_report_is_downloaded_where_the_server_may_read_it(
    client_of: Clients, mine: RunRows, monkeypatch: pytest.MonkeyPatch, azure_server: LocalAzure, container: Any
) -> None:
    """The file comes whole under the run's name; without the setting the page does not offer it, and it is refused."""
    wasb = {"conn_type": "wasb", "extra": {"connection_string": azure_server.connection_string}}
    monkeypatch.setenv("AIRFLOW_CONN_STATE", json.dumps(wasb))
    run = RunRows(mine.session, "mine", state="failed")
    plan = {"wasb_conn_id": "state", "state_container": container.container_name}
    run.task("plan", "_PythonDecoratedOperator", xcoms={"plan": plan})
    run.done()
    table = b'"key"\r\n"a"\r\n' * 500_000
    container.upload_blob(f"_s3_to_azure/mine/{folder_name(run.run_id)}/report.csv", table)
    path = "/s3_to_azure/api/dags/mine/report.csv"
    client = client_of("reader_of_mine")

    def offered() -> bool:
        view = client.get(migration_path(run), params={"run_id": run.run_id}).json()
        return bool(view["actions"]["may"]["download"])

    refused = client.get(path, params={"run_id": run.run_id})
    assert (refused.status_code, offered()) == (404, False)
    assert "setting [s3_to_azure] report_connections" in refused.json()["detail"]
    monkeypatch.setenv("AIRFLOW__S3_TO_AZURE__REPORT_CONNECTIONS", "state")
    assert offered()
    answer = client.get(path, params={"run_id": run.run_id})
    assert (answer.status_code, answer.content == table) == (200, True)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''mine%20manual")
    assert client.get(path, params={"run_id": "none"}).status_code == 404
    assert client_of("reader_of_other").get(path, params={"run_id": run.run_id}).status_code == 403
    assert client_of(None).get(path, params={"run_id": run.run_id}).status_code == 401


def test_failed_objects_are_read_from_the_reports_file(
    client_of: Clients, session: Any, monkeypatch: pytest.MonkeyPatch, azure_server: LocalAzure, container: Any
) -> None:
    """All of them, page by page, if the API server may; else those of the database, and a sentence that says so."""
    wasb = {"conn_type": "wasb", "extra": {"connection_string": azure_server.connection_string}}
    monkeypatch.setenv("AIRFLOW_CONN_STATE", json.dumps(wasb))
    add_dag(session, "with_file")
    run = RunRows(session, "with_file", state="failed")
    place = {"wasb_conn_id": "state", "state_container": container.container_name, "listed": {}, "copy": {}}
    run.task("plan", "_PythonDecoratedOperator", xcoms={"plan": place, "return_value": []})
    run.report(
        state="failed",
        key="report",
        listed={"objects": 1_005, "size_bytes": 1_005},
        failed={"objects": 1_000, "size_bytes": 1_000},
        reasons=[{"status": "failed", "reason": "throttled", "objects": 1_000, "size_bytes": 1_000}],
    )
    run.done()
    with BlobServiceClient.from_connection_string(azure_server.connection_string) as service:
        files = AzureState(service, container.container_name, dag_id="with_file", run_id=run.run_id)
        with files.write("failures.jsonl.gz") as out:
            lines = LinesWriter(out)
            for number in range(1_000):
                add_failure(lines, FailureLine(f"{EVIL}{number:04}", f"throttled: {number}", number, None, 1))
            lines.end_member()
    path, client = migration_path(run).replace("/migration", "/failures"), client_of("reader_of_with_file")
    query = {"run_id": run.run_id, "order": "size", "descending": "true", "page": "2"}

    closed = client.get(path, params=query).json()
    assert (closed["matching"], closed["failed"]) == (1, 1_000)
    assert "1 of 1,000 failed objects. The API server may not read the report's files." in closed["note"]

    monkeypatch.setenv("AIRFLOW__S3_TO_AZURE__REPORT_CONNECTIONS", "state")
    page = client.get(path, params=query).json()
    assert (page["matching"], page["pages"], page["note"]) == (1_000, 20, "")
    assert [row["key"] for row in page["rows"]] == [f"{EVIL}{number:04}" for number in range(949, 899, -1)]
    found = client.get(path, params={"run_id": run.run_id, "search": "0007", "reason": "throttled"}).json()
    assert [row["size_bytes"] for row in found["rows"]] == [7]

    with files.write("failures.jsonl.gz") as out:
        out.write(b"not gzip at all")
    damaged = client.get(path, params=query)
    assert damaged.status_code == 200
    assert "The report cannot be read" in damaged.json()["note"]
    assert client_of("reader_of_other").get(path, params=query).status_code == 403


@pytest.mark.parametrize(
    "wrong", [{"page": 0}, {"page": 10**9}, {"order": "x"}, {"search": "x" * 1_025}, {"descending": "?"}]
)
def test_a_wrong_query_is_refused(client_of: Clients, mine: RunRows, wrong: dict[str, Any]) -> None:
    """Before anything is read."""
    path = migration_path(mine).replace("/migration", "/failures")
    assert client_of("reader_of_mine").get(path, params={"run_id": mine.run_id, **wrong}).status_code == 422


def test_a_tasks_last_error_is_shown_beside_its_progress(client_of: Clients, session: Any) -> None:
    """Both notes of a task, and all its XComs, each once."""
    add_dag(session, "mine")
    run = RunRows(session, "mine", state="failed")
    note = {"error": "AccessDenied", "message": "Azure denied access.", "subject": "s3://b/k", "try_number": 1}
    run.task(
        "copy_one",
        "S3ToAzureBlobStreamOperator",
        state="failed",
        progress=progress_record(objects_failed=1, failures=[{"key": "k", "reason": "access_denied: no"}]),
        error=note,
        xcoms={"return_value": {"objects": 4, "size_bytes": GIB}, "settings": {"dry_run": False}},
    )
    run.done()
    view = client_of("reader_of_mine").get(migration_path(run), params={"run_id": run.run_id}).json()
    (cause,) = view["causes"]
    assert (cause["message"], cause["subject"]) == ("Azure denied access.", "s3://b/k")
    assert (view["totals"]["objects_total"], view["totals"]["objects_failed"]) == (4, 1)
    assert view["failure_groups"][0]["reason"] == "access_denied"


def test_a_run_costs_one_query(client_of: Clients, session: Any) -> None:
    """500 batches are read by one statement."""
    add_dag(session, "mine")
    run = RunRows(session, "mine")
    run.plan(500)
    stretches = [[1_000 + 5 * index, 1_005 + 5 * index, 1_000] for index in range(48)]
    for index in range(500):
        run.copy(index, state="running", progress=progress_record(throughput=stretches))
    run.done()
    client = client_of("reader_of_mine")
    with counted_selects() as statements:
        view = client.get(migration_path(run), params={"run_id": run.run_id}).json()
    assert len(view["batches"]) == 500
    assert view["totals"]["bytes_total"] == 500 * GIB
    ours = [statement for statement in statements if "task_instance" in statement]
    assert len(ours) == 1


def test_no_such_run(client_of: Clients, mine: RunRows) -> None:
    """An unknown run is 404, a missing or overlong run id 422."""
    client = client_of("reader_of_mine")
    assert client.get(migration_path(mine), params={"run_id": "none"}).status_code == 404
    assert client.get(migration_path(mine)).status_code == 422
    assert client.get(migration_path(mine), params={"run_id": "x" * 251}).status_code == 422


def test_history_holds_what_the_user_may_read(client_of: Clients, session: Any) -> None:
    """Users see the runs of their own DAGs; reports of failed runs count, tasks of other DAGs do not."""
    for dag_id in ("mine", "other"):
        add_dag(session, dag_id)
        good, bad = RunRows(session, dag_id, state="success", began=3), RunRows(session, dag_id, state="failed")
        good.report(failed={"objects": 0, "size_bytes": 0}, reasons=[], failures=[])
        bad.report(state="failed", key="report")
        good.done()
    add_dag(session, "nobodys", tags=())
    foreign = RunRows(session, "nobodys", state="success")
    foreign.task("report", "BashOperator", xcoms={"return_value": "done"})
    foreign.done()
    view = client_of("reader_of_mine").get("/s3_to_azure/api/history").json()
    assert view["dags"] == ["mine"]
    with_report = [run for run in view["runs"] if run["has_report"]]
    assert [run["state"] for run in with_report] == ["failed", "success"]
    assert with_report[0]["failures"] == [{"reason": "access_denied", "objects": 1}]
    assert view["failures"] == [{"reason": "access_denied", "objects": 1}]
    assert view["totals"]["bytes_resumed"] == 2 * report_summary()["bytes_resumed"]
    assert client_of("reader_of_nobodys").get("/s3_to_azure/api/history").json()["runs"] == []


def test_the_history_costs_the_same_however_many_dags(client_of: Clients, session: Any) -> None:
    """Three statements read all runs, and none is sent for each DAG."""
    costs = []
    add_dag(session, "unreported")
    RunRows(session, "unreported").done()
    for dag_id in ("first", "second", "third"):
        add_dag(session, dag_id)
        run = RunRows(session, dag_id, state="success")
        run.report()
        run.done()
        client = client_of(READER_OF_ALL)
        with counted_selects() as statements:
            view = client.get("/s3_to_azure/api/history").json()
        assert dag_id in view["dags"]
        # Which DAGs, their runs, and the tasks of the runs without report.
        assert sum("xcom" in statement for statement in statements) == 3
        costs.append(len(statements))
    assert len(set(costs)) == 1


def test_the_history_of_one_dag(client_of: Clients, session: Any) -> None:
    """The limit counts its runs only; a DAG that the user may not read has none."""
    for dag_id in ("mine", "other"):
        add_dag(session, dag_id)
        RunRows(session, dag_id, state="success").done()
    for user, dag, expected in ((READER_OF_ALL, "other", {"other"}), ("reader_of_mine", "other", set())):
        view = client_of(user).get("/s3_to_azure/api/history", params={"dag": dag}).json()
        assert {run["dag_id"] for run in view["runs"]} == expected
        assert {migration["dag_id"] for migration in view["migrations"]} == expected
        assert "mine" in view["dags"]


def test_runs_that_are_not_shown_do_not_count_towards_the_limit(
    client_of: Clients, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer runs of other DAGs, and of migrations that the user may not read, push no run out of the history."""
    monkeypatch.setattr(queries, "MAX_RUNS", 2)
    add_dag(session, "mine")
    add_dag(session, "other")
    add_dag(session, "unrelated", tags=())
    old = RunRows(session, "mine", state="success", began=0.5)
    old.report()
    old.done()
    for dag_id in ("other", "unrelated"):
        for _ in range(5):
            new = RunRows(session, dag_id, state="success", began=0.1)
            new.report()
            new.done()
    view = client_of("reader_of_mine").get("/s3_to_azure/api/history").json()
    assert old.run_id in [run["run_id"] for run in view["runs"]]
    assert view["dags"] == ["mine"]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_no_value_breaks_a_page(client_of: Clients, session: Any, hostile: object) -> None:
    """Whatever tasks have stored, both pages answer with JSON that browsers read."""
    add_dag(session, "mine")
    run = RunRows(session, "mine", state="failed", began=0.01)
    run.copy(0, state="failed", progress={"bytes_total": 1, "throughput": hostile, "failures": hostile})
    run.copy(1, progress={"bytes_total": hostile}, xcoms={"return_value": hostile})
    run.copy(2, state="failed", error={"error": hostile, "message": hostile, "try_number": hostile})
    run.copy(3, state="failed", error={"error": "x", "message": hostile, "subject": hostile, "try_number": 1})
    waits = {"return_value": hostile, "settings": {"x": hostile}, "waiting": {"source": hostile, "until": hostile}}
    run.task("wait_for_objects", "S3ObjectsSensor", xcoms=waits)
    run.task("plan", "x", xcoms={"plan": {"copy": hostile, "warnings": hostile}, "return_value": hostile})
    values: dict[str, Any] = dict.fromkeys(
        ("reasons", "failures", "slowest", "proofs", "files", "certificate", "proven", "samples"), hostile
    )
    run.report(key="report", **values)
    run.task("compare", "x", xcoms={"compare": {"equal": hostile} if isinstance(hostile, str) else hostile})
    run.done()
    client = client_of("reader_of_mine")
    failures = migration_path(run).replace("/migration", "/failures")
    for path, params in (
        (migration_path(run), {"run_id": run.run_id}),
        (failures, {"run_id": run.run_id, "order": "size"}),
        ("/s3_to_azure/api/history", {}),
    ):
        answer = client.get(path, params=params)
        assert answer.status_code == 200
        assert answer.content.isascii()
        json.loads(answer.content, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "text",
    ["[" * 60_000, "9" * 5_000, '"' + "[" * 50_000 + '"', "{", "NaN", '"\\ud800"'],
    ids=["deep", "long number", "deep within", "cut", "NaN", "surrogate"],
)
def test_no_json_breaks_a_page(client_of: Clients, session: Any, text: str) -> None:
    """The database's driver does not parse XComs, so JSON that it would not read is no value either."""
    add_dag(session, "mine")
    run = RunRows(session, "mine", state="failed", began=0.01)
    run.plan(1)
    run.report()
    run.copy(0, progress={}, xcoms={"return_value": 1})
    run.done()
    where = {"run": run.run_id, "text": text}
    session.execute(sql("UPDATE xcom SET value = :text WHERE run_id = :run"), where)
    session.execute(sql("UPDATE task_state_store SET value = :text WHERE run_id = :run"), where)
    session.commit()
    client = client_of("reader_of_mine")
    assert client.get(migration_path(run), params={"run_id": run.run_id}).json()["report"] is None
    assert client.get("/s3_to_azure/api/history").status_code == 200


def test_history_is_bounded(client_of: Clients) -> None:
    """A period is between a day and a year."""
    client = client_of("reader_of_mine")
    assert client.get("/s3_to_azure/api/history", params={"days": 0}).status_code == 422
    assert client.get("/s3_to_azure/api/history", params={"days": 367}).status_code == 422


def test_files_are_revalidated(client_of: Clients) -> None:
    """Scripts have their content type, are revalidated, and no file outside the folder is served."""
    client = client_of(None)
    answer = client.get("/s3_to_azure/static/migration.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get("/s3_to_azure/static/migration.js", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    for path in ("%2e%2e/api.py", "..%2fapi.py", "../api.py", "%2e%2e%2fapi.py"):
        assert "web_app" not in client.get(f"/s3_to_azure/static/{path}").text
