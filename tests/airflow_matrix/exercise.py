"""Runs in an environment of the matrix: uses the installed package as its users do; prints each check's result as JSON.

`exercise.py EXAMPLE [--scheduler] [--events]`. It knows no version of Airflow: everything goes through the command
line and the database's two tables that every version has.
"""

# ruff: noqa: T201 - a script, which prints what it found

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import boto3
from azure.storage.blob import BlobServiceClient

HOME = Path(os.environ["AIRFLOW_HOME"])
NAME = os.environ["MATRIX_NAME"]
DEADLINE_S = 600
ENDED = {"success", "failed"}
URL = os.environ["AIRFLOW__API__BASE_URL"]
IMPORT = """
import warnings
try:  # Airflow and its dependencies may warn about themselves
    import airflow.sdk, airflow.sdk.bases.sensor
except ImportError:
    import airflow.datasets, airflow.decorators, airflow.models, airflow.operators.python, airflow.sensors.base
    import airflow.utils.log.secrets_masker, airflow.configuration, airflow.models.taskinstancekey
import airflow.triggers.base
warnings.simplefilter("error")
import s3_to_azure.dag, s3_to_azure.operators, s3_to_azure.sensors, s3_to_azure.triggers
"""
OBJECTS = {"in/a.txt": b"a" * 1000, "in/b.txt": b"b" * 2000}


class Copies:
    """The DAGs' copies between one bucket and one container."""

    def __init__(self) -> None:
        blobs = BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"])
        self.container = blobs.create_container(NAME)
        self.s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        self.s3.create_bucket(Bucket=NAME)
        for key, body in OBJECTS.items():
            self.s3.put_object(Bucket=NAME, Key=key, Body=body)

    def one_key(self) -> None:
        """Copy one object."""
        run_dag("one_key", {"copy": "success"})
        self._check("one_key.txt", "in/a.txt")

    def prefix(self) -> None:
        """Copy a prefix in one task."""
        run_dag("prefix", {"copy": "success"})
        self._check_both("prefix/")

    def mapped(self) -> None:
        """Copy one object in each mapped task."""
        run_dag("mapped", {"copy": "success"}, copies=2)
        self._check_both("mapped/")

    def missing_key(self) -> None:
        """Fail at once, although the task may be retried."""
        run_dag("missing_key", {"copy": "failed"})
        check_one_try()

    def two_nights(self) -> None:
        """Copy in the first night, and write nothing in the second."""
        run_dag("nights", {"copy": "success"})
        self._check_both("nights/")
        written = self._last_modified("nights/")
        run_dag("nights", {"copy": "skipped"})
        assert self._last_modified("nights/") == written
        told = (HOME / "told.txt").read_text().splitlines()
        assert told == [
            "nights: All 2 objects are accounted for: 2 copied and proven.",
            "nights: All 2 objects are accounted for: 0 copied, 2 unchanged.",
        ], told

    def sensors(self) -> None:
        """Find an object that is there."""
        self.make_late_object()
        run_dag("sensor", {"wait": "success"})
        run_dag("sensor_deferrable", {"wait": "success"})

    def scheduler(self) -> None:
        """Run everything by a real scheduler."""
        self.s3.delete_object(Bucket=NAME, Key="late/object")
        run_scheduler(self.make_late_object)

    def events(self) -> None:
        """Copy an object that S3 announces after the listing, by a real triggerer where Airflow has such triggers."""
        sqs = boto3.client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        sqs.create_queue(QueueName=NAME)
        self.s3.put_object(Bucket=NAME, Key="announced/listed", Body=b"listed")
        queue = {"QueueArn": f"arn:aws:sqs:{os.environ['AWS_DEFAULT_REGION']}:000000000000:{NAME}"}
        self.s3.put_bucket_notification_configuration(
            Bucket=NAME,
            NotificationConfiguration={"QueueConfigurations": [queue | {"Events": ["s3:ObjectCreated:*"]}]},
        )
        with standalone(MATRIX_QUEUE=f"{os.environ['AWS_ENDPOINT_URL']}/000000000000/{NAME}"):
            self._wait_for("announced/listed")
            wait_for("the listing run to end", lambda: "success" in _runs_and_waits()[0].get("announced", []))
            self.s3.put_object(Bucket=NAME, Key="announced/told", Body=b"told")
            self._wait_for("announced/told")
            # A run has reported what the event announced.
            self._wait_for("_s3_to_azure/~events/announced/done/")
        assert self.container.download_blob("announced/told").readall() == b"told"

    def _wait_for(self, blob: str) -> None:
        wait_for(f"the blob {blob}", lambda: any(self.container.list_blob_names(name_starts_with=blob)))

    def make_late_object(self) -> None:
        """Make the object that the sensors wait for."""
        self.s3.put_object(Bucket=NAME, Key="late/object", Body=b"late")

    def _check(self, blob: str, key: str) -> None:
        assert self.container.download_blob(blob).readall() == OBJECTS[key], f"the blob {blob} is not its object"

    def _check_both(self, prefix: str) -> None:
        for name in ("a.txt", "b.txt"):
            self._check(prefix + name, f"in/{name}")

    def _last_modified(self, prefix: str) -> dict[str, Any]:
        return {blob.name: blob.last_modified for blob in self.container.list_blobs(prefix)}


def main() -> int:
    """Run all checks; return the exit status."""
    example, more = sys.argv[1], sys.argv[2:]
    copies = Copies()
    airflow("db", "migrate")
    checks: dict[str, Callable[[], Any]] = {
        "import": lambda: run("python", "-c", IMPORT),
        "example": lambda: parse_example(example),
        "plugin": list_plugin,
        "one key": copies.one_key,
        "prefix": copies.prefix,
        "mapped": copies.mapped,
        "missing key": copies.missing_key,
        "two nights": copies.two_nights,
        "sensors": copies.sensors,
    }
    if has_api_server():
        checks["page data"] = read_pages
    if "--scheduler" in more:
        checks["scheduler"] = copies.scheduler
    if "--events" in more:
        checks["events"] = copies.events
    results = {name: result_of(check) for name, check in checks.items()}
    print(json.dumps(results))
    return 0 if set(results.values()) == {"ok"} else 1


def result_of(check: Callable[[], Any]) -> str:
    """Return ``ok``, or what went wrong."""
    try:
        check()
    except Exception as error:  # noqa: BLE001 - the other checks still run
        return f"{type(error).__name__}: {error}"[-1500:]
    return "ok"


def run(program: str, *arguments: str) -> str:
    """Run a program of this environment; return its standard output."""
    command = [str(Path(sys.executable).parent / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HOME, timeout=DEADLINE_S)
    (HOME / f"{program}-{'-'.join(arguments[:3])[:40]}.log".replace("/", "_")).write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        raise RuntimeError(
            f"{program} {arguments[:3]} ended with {done.returncode}: {(done.stderr or done.stdout)[-800:]}"
        )
    return done.stdout


def airflow(*arguments: str) -> str:
    """Run Airflow's command line."""
    return run("airflow", *arguments)


def rows_in(output: str) -> list[dict[str, Any]]:
    """Return the rows that a command has printed as JSON; some versions print log lines before them."""
    begin = re.search(r"^\[(?=[{\]])", output, re.MULTILINE)
    found: list[dict[str, Any]] = json.JSONDecoder().raw_decode(output[begin.start() :])[0] if begin else []
    return found


def parse_example(example: str) -> None:
    """Parse the example DAG as the DAG processor does, and all others into the database."""
    (HOME / "dags" / "example.py").write_bytes(Path(example).read_bytes())
    airflow("dags", "reserialize")
    errors = rows_in(airflow("dags", "list-import-errors", "--output", "json"))
    assert not errors, errors
    listed = {row["dag_id"] for row in rows_in(airflow("dags", "list", "--output", "json"))}
    assert "s3_to_azure_migration" in listed, listed


def list_plugin() -> None:
    """Find the wheel's plugin among those that Airflow has loaded."""
    listed = rows_in(airflow("plugins", "--output", "json"))
    assert [row["name"] for row in listed if "s3-to-azure" in str(row["source"])] == ["s3_to_azure"], listed


def tasks(dag_id: str, run_id: str | None = None) -> list[dict[str, Any]]:
    """Return the task instances of the DAG's last run, or of the named one."""
    with sqlite3.connect(HOME / "airflow.db") as database:
        database.row_factory = sqlite3.Row
        if run_id is None:
            found = database.execute(
                "select run_id from dag_run where dag_id = ? order by id desc", (dag_id,)
            ).fetchone()
            assert found, f"{dag_id} has not run"
            run_id = found["run_id"]
        rows = database.execute("select * from task_instance where dag_id = ? and run_id = ?", (dag_id, run_id))
        return [dict(row) for row in rows]


def run_dag(dag_id: str, expected: dict[str, str], copies: int = 1) -> None:
    """Run the DAG in one process; check the states of its tasks, of which those not named must succeed."""
    try:
        airflow("dags", "test", dag_id)
    except RuntimeError as error:
        if "failed" not in expected.values():
            raise RuntimeError(f"{error}; {tasks_text(dag_id)}") from None
    found = Counter((row["task_id"], row["state"]) for row in tasks(dag_id))
    others = {task_id for task_id, _ in found} - set(expected)
    wanted = Counter(dict.fromkeys(expected.items(), copies))
    wanted.update((task_id, "success") for task_id in others)
    assert found == wanted, found


def has_api_server() -> bool:
    """Return whether this Airflow has the server that the pages need; 2.10 and 2.11 have not."""
    try:
        airflow("api-server", "--help")
    except RuntimeError:
        return False
    return True


def read_pages() -> None:
    """Read the pages' data and their script from the API server as a browser does."""
    with running("api-server"):
        token = _answer("/auth/token")["access_token"]
        runs = [run for run in _answer("/s3_to_azure/api/history", token)["runs"] if run["dag_id"] == "nights"]
        assert {run["copied"]["objects"] for run in runs} == {0, 2}, runs
        for run in runs:
            run_id = urllib.parse.quote(run["run_id"], safe="")
            view = _answer(f"/s3_to_azure/api/dags/nights/migration?run_id={run_id}", token)
            assert view["report"]["copied"] == run["copied"], view
            # Only a task that copied something has stored its progress.
            recorded = [batch["bytes_done"] for batch in view["batches"] if batch["state"] == "success"]
            assert sum(recorded) == run["copied"]["bytes"], view["batches"]
        # Where all are administrators, as here, Airflow 3.3 asks for no token; it never takes one of somebody else.
        status = _status("/s3_to_azure/api/history", "of somebody else")
        assert status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}, f"with a token of somebody else: {status}"
        with urllib.request.urlopen(f"{URL}/s3_to_azure/static/migration.js") as script:
            assert b"AirflowPlugin" in script.read()


def _status(path: str, token: str = "") -> int:
    try:
        with urllib.request.urlopen(_request(path, token)) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def _request(path: str, token: str) -> urllib.request.Request:
    return urllib.request.Request(URL + path, headers={"Authorization": f"Bearer {token}"} if token else {})


def _answer(path: str, token: str = "") -> Any:
    """Return the JSON at an address of the API server, which may still be starting."""
    request = _request(path, token)
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(request) as response:
                return json.load(response)
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


@contextmanager
def running(*arguments: str, **variables: str) -> Iterator[None]:
    """Run a command of Airflow in the background, and end it with all its processes."""
    program = Path(sys.executable).parent / "airflow"
    with (HOME / f"{arguments[0]}.log").open("w") as log:
        process = subprocess.Popen(
            [program, *arguments], env=os.environ | variables, cwd=HOME, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield
        finally:
            os.killpg(process.pid, 15)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            # Its own end does not mean that of all its processes.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)


def check_one_try() -> None:
    """Check that a retry that cannot help was not made."""
    tries = [row["try_number"] for row in tasks("missing_key")]
    assert tries == [1], f"a retry that cannot help was made: {tries}"


def tasks_text(dag_id: str) -> str:
    """Return the states of the tasks of the last run."""
    return ", ".join(f"{row['task_id']} {row['state']}" for row in tasks(dag_id))


def run_scheduler(make_late_object: Callable[[], Any]) -> None:
    """Run all DAGs by a real scheduler: two nights, each other DAG once, sensors that have to wait."""
    with standalone(MATRIX_ONCE="@once", MATRIX_NIGHTS="@daily"):
        _wait_for_runs(make_late_object)


@contextmanager
def standalone(**variables: str) -> Iterator[None]:
    """Run all components of Airflow with a new database."""
    # With the journals that a killed Airflow 3 leaves: SQLite cannot open another database beside them.
    for path in HOME.glob("airflow.db*"):
        path.unlink()
    airflow("db", "migrate")
    # The DAGs come once the server answers: Airflow 3 starts tasks before, and fails those that do not reach it.
    (HOME / "dags").rename(HOME / "later")
    (HOME / "dags").mkdir()
    with running("standalone", **variables):
        _wait_for_server()
        for path in (HOME / "later").iterdir():
            path.rename(HOME / "dags" / path.name)
        (HOME / "later").rmdir()
        yield


def _wait_for_server() -> None:
    def answers() -> bool:
        with suppress(OSError):
            _status("/")
            return True
        return False

    wait_for("the web server", answers)


def wait_for(what: str, is_there: Callable[[], bool]) -> None:
    """Wait until something is there."""
    end = time.monotonic() + DEADLINE_S
    while not is_there():
        if time.monotonic() > end:
            raise RuntimeError(f"after {DEADLINE_S} s without {what}: {_runs_and_waits()[0]}\n{_logged_errors()}")
        time.sleep(1)


def _logged_errors() -> str:
    """Return the last errors that Airflow logged; its home is gone when the message is read."""
    lines = (HOME / "standalone.log").read_text(errors="replace").splitlines()
    return "\n".join([line[:500] for line in lines if re.search("error|critical|traceback", line, re.IGNORECASE)][-20:])


def _wait_for_runs(make_late_object: Callable[[], Any]) -> None:
    expected = dict.fromkeys(("one_key", "prefix", "mapped", "sensor", "sensor_deferrable"), "success")
    expected["missing_key"] = "failed"
    is_late_made = False
    end = time.monotonic() + DEADLINE_S
    found: dict[str, list[str]] = {}
    while time.monotonic() < end:
        time.sleep(2)
        found, waits = _runs_and_waits()
        if not is_late_made and {"up_for_reschedule", "deferred"} <= waits:
            time.sleep(10)  # Airflow 3 fails a task that goes on before its executor told that its first process ended.
            make_late_object()
            is_late_made = True
        states = {dag_id: found.get(dag_id, [""])[0] for dag_id in expected}
        if wrong := {dag_id for dag_id, state in states.items() if state in ENDED and state != expected[dag_id]}:
            raise RuntimeError(f"{sorted(wrong)} ended wrong: {found}\n{_logged_errors()}")
        if is_late_made and states == expected and found.get("nights", []).count("success") >= 2:
            check_one_try()
            return
    raise RuntimeError(f"after {DEADLINE_S} s: {found}\n{_logged_errors()}")


def _runs_and_waits() -> tuple[dict[str, list[str]], set[str]]:
    """Return the states of each DAG's runs, and the states of the waiting sensors."""
    runs: dict[str, list[str]] = {}
    try:
        with sqlite3.connect(HOME / "airflow.db") as database:
            for dag_id, state in database.execute("select dag_id, state from dag_run order by id"):
                runs.setdefault(dag_id, []).append(state)
            waits = database.execute("select state from task_instance where task_id = 'wait'").fetchall()
    except sqlite3.OperationalError:  # the tables are being made
        return {}, set()
    return runs, {state for (state,) in waits}


if __name__ == "__main__":
    sys.exit(main())
