"""Random orders of fail, clear, mark, pause, delete, backfill and re-run, through the API of a real Airflow.

However a run comes to its end: if Airflow shows it as successful, every object that it listed is in Azure, proven, or
in its report.
"""

import csv
import gzip
import io
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import boto3
import pytest
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, BlobType, ContainerClient
from botocore.config import Config

from demo.airflow_instance import ROOT, Airflow, AirflowError, running
from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.names import STATE_FOLDER, id_of
from tests.cluster.airflow_cluster import until
from tests.cluster.services import postgres, require_tools

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

DAG_ID: Final = "orders"
ORDERS: Final = int(os.environ.get("ORDERS", "10"))
AT_ONCE: Final = 4
TASKS: Final = ("wait_for_objects", "plan", "copy", "report")
CHECK: Final = "check_report"
_ENDED: Final = ("success", "failed")
_END_S: Final = 240.0
_POLL_S: Final = 1.0


@dataclass(frozen=True)
class Site:
    """A running Airflow, and the stores between which its DAG copies."""

    airflow: Airflow
    s3_client: Any
    bucket: str
    container: ContainerClient
    state: ContainerClient
    pausing: threading.Lock = field(default_factory=threading.Lock)


@pytest.fixture(scope="module")
def site(s3_server: LocalS3, azure_server: LocalAzure) -> Iterator[Site]:
    """Run Airflow with the local servers."""
    name = uuid4().hex
    s3_client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint_url,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name=s3_server.region,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=2 * AT_ONCE),
    )
    s3_client.create_bucket(Bucket=f"bucket-{name}")
    aws = {
        "conn_type": "aws",
        "login": s3_server.access_key,
        "password": s3_server.secret_key,
        "extra": {
            "endpoint_url": s3_server.endpoint_url,
            "region_name": s3_server.region,
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    }
    home = Path(tempfile.mkdtemp(prefix="orders-"))
    (home / "config").mkdir()
    # The scheduler forks each task from itself, so what it has imported starts faster.
    (home / "config" / "airflow_local_settings.py").write_text(
        "import azure.storage.blob, boto3\nimport s3_to_azure.airflow.jobs, s3_to_azure.airflow.migration.dag_tasks\n"
    )
    variables = {
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        "AIRFLOW_CONN_WASB_DEFAULT": json.dumps(
            {"conn_type": "wasb", "extra": {"connection_string": azure_server.connection_string}}
        ),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parent / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "ORDERS_BUCKET": f"bucket-{name}",
        "ORDERS_CONTAINER": f"container-{name}",
        "ORDERS_STATE": f"state-{name}",
        "PYTHONPATH": str(ROOT / "plugins"),
    }
    require_tools()
    (home / "postgres").mkdir()
    # Postgres runs as another user.
    home.chmod(0o711)
    with (
        # SQLite would be locked most of the time.
        postgres(home / "postgres") as database,
        BlobServiceClient.from_connection_string(azure_server.connection_string) as service,
        running(home, variables | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database}) as airflow,
    ):
        container, state = (service.create_container(f"{kind}-{name}") for kind in ("container", "state"))
        until("the DAGs are parsed", lambda: len(airflow.get("dags")["dags"]) == 2)
        yield Site(airflow, s3_client, f"bucket-{name}", container, state)
    s3_client.close()
    shutil.rmtree(home, ignore_errors=True)


class Order:
    """One run, and what is done to it.

    Args:
        site: Where.
        seed: Decides what is done, and when.
        dag_id: Whose run it is.
    """

    def __init__(self, site: Site, seed: int, dag_id: str = DAG_ID) -> None:
        self.seed = seed
        self.dag_id = dag_id
        self.run_id = f"manual__order-{seed}"
        self.history: list[str] = []
        self._site = site
        self._random = random.Random(seed)
        self._prefix = f"order-{seed}/"

    def run(self) -> str:
        """Start the run, do some things to it, let it end; return its state."""
        self._put("fine")
        for fault in (self._take_blob, self._name_badly):
            if self._random.random() < 0.4:
                fault()
        self._trigger()
        for _ in range(self._random.randint(2, 5)):
            time.sleep(self._random.choice([0.5, 2, 5, 10]))
            act = self._random.choice(
                [
                    *(self._mark_run, self._clear_run, self._clear_tasks, self._clear_tasks, self._mark_task),
                    *(self._mark_task, self._delete_task, self._delete_run, self._backfill, self._pause),
                    *(self._take_blob, self._free_blob, self._name_badly, self._name_well, self._put_another),
                ]
            )
            act()
        if self._random.random() < 0.6:
            self._end()
            self._free_blob()
            self._name_well()
            self._clear_run()
        return self._end()

    def marked_failed_and_cleared(self) -> str:
        """Mark the run as failed while it copies, and clear its failed tasks, as its blob is still taken."""
        self._put("fine")
        self._take_blob()
        self._trigger()
        self._until(lambda: any(task == "copy" and index >= 0 for task, index in self._tasks()))
        self._call("PATCH", self._run, json={"state": "failed"})
        assert self._end() == "failed"
        self._call("POST", f"{self._run}/clear", json={"dry_run": False, "only_failed": True})
        return self._end()

    def marked_and_cleared(self, *marked: str, cleared: str) -> str:
        """Let the run fail; mark some of its tasks as successful, and clear another one."""
        self._put("fine")
        self._take_blob()
        self._name_badly()
        self._trigger()
        assert self._end() == "failed"
        for task in marked:
            self._call("PATCH", f"{self._run}/taskInstances/{task}", json={"new_state": "success"})
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": [cleared], "reset_dag_runs": True}
        self._call("POST", f"dags/{self.dag_id}/clearTaskInstances", json=body | {"only_failed": False})
        return self._end()

    def timed_out_and_cleared(self) -> tuple[str, str]:
        """Wait in vain until the run is too old; then clear a task of it alone."""
        self._trigger(wait=True)
        first = self._end()
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": ["plan"], "reset_dag_runs": True}
        self._call("POST", f"dags/{self.dag_id}/clearTaskInstances", json=body | {"only_failed": False})
        return first, self._end()

    def unaccounted(self) -> list[str]:
        """Return the keys of the latest listing that are neither proven in Azure nor in the report."""
        folder = next(
            (name for name in self._folders() if id_of(name.split("/")[2]) == self.run_id),
            "",
        )
        names = list(self._site.state.list_blobs(name_starts_with=folder)) if folder else []
        manifests = sorted((one.last_modified, one.name) for one in names if "/manifest-" in one.name)
        if not manifests:
            return ["there is no listing"]
        reported = self._reported(folder)
        lines = gzip.decompress(self._site.state.download_blob(manifests[-1][1]).readall()).splitlines()
        listed = [one for one in map(json.loads, lines) if "key" in one]
        return [one["key"] for one in listed if one["key"] not in reported and not self._is_proven(one)]

    def _folders(self) -> set[str]:
        names = self._site.state.list_blob_names(name_starts_with=f"{STATE_FOLDER}/")
        return {"/".join(name.split("/")[:3]) + "/" for name in names}

    def _reported(self, folder: str) -> set[str]:
        """Return the keys that the report says were not copied."""
        blob = self._site.state.get_blob_client(f"{folder}report.csv")
        if not blob.exists():
            return set()
        rows = csv.DictReader(io.StringIO(blob.download_blob().readall().decode()))
        return {row["key"] for row in rows if row["status"] in ("failed", "skipped")}

    def _is_proven(self, listed: dict[str, Any]) -> bool:
        """Return whether the blob is a proven copy of this version."""
        blob = self._site.container.get_blob_client(listed["key"])
        return blob.exists() and blob.get_blob_properties().metadata.get("s3_etag") == listed["etag"].strip('"')

    # What changes in the stores.

    def _put(self, name: str) -> None:
        self.history.append(f"put {name}")
        body = self._random.randbytes(20)
        self._site.s3_client.put_object(Bucket=self._site.bucket, Key=self._prefix + name, Body=body)

    def _put_another(self) -> None:
        self._put(f"another/{len(self.history)}")

    def _take_blob(self) -> None:
        """Let the copy of an object fail: an append blob has its name."""
        self._put("taken")
        blob = self._site.container.get_blob_client(f"{self._prefix}taken")
        if not blob.exists():
            blob.create_append_blob()

    def _free_blob(self) -> None:
        """Delete the append blob, but no copy."""
        self.history.append("free taken")
        blob = self._site.container.get_blob_client(f"{self._prefix}taken")
        with suppress(ResourceNotFoundError):
            if blob.get_blob_properties().blob_type == BlobType.APPENDBLOB:
                blob.delete_blob()

    def _name_badly(self) -> None:
        """Let an object fail in the plan: Azure does not accept its name."""
        self._put("bad.")

    def _name_well(self) -> None:
        self.history.append("delete bad.")
        self._site.s3_client.delete_object(Bucket=self._site.bucket, Key=f"{self._prefix}bad.")

    # What is ordered in Airflow.

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        """Send a request; a refusal is written down, and no fault."""
        try:
            answer = self._site.airflow._request(method, path, **arguments)
        except (AirflowError, requests.RequestException) as error:
            self.history.append(f"{method} {path} {arguments.get('json', '')}: {str(error)[:200]}")
            return None
        self.history.append(f"{method} {path} {arguments.get('json', '')}")
        return answer

    @property
    def _run(self) -> str:
        return f"dags/{self.dag_id}/dagRuns/{self.run_id}"

    def _trigger(self, *, wait: bool = False) -> bool:
        body = {"dag_run_id": self.run_id, "logical_date": None, "conf": {"prefix": self._prefix, "wait": wait}}
        return self._call("POST", f"dags/{self.dag_id}/dagRuns", json=body) is not None

    def _state(self) -> str:
        # Beside so many orders, Airflow's database refuses a request now and then.
        with suppress(AirflowError, requests.RequestException):
            return str(self._site.airflow.state(self.dag_id, self.run_id))
        return "unknown"

    def _mark_run(self) -> None:
        # Of an ended run Airflow only changes the colour; nothing runs that could object, and its report stays.
        if self._state() not in _ENDED:
            self._call("PATCH", self._run, json={"state": self._random.choice(["failed", "success"])})

    def _clear_run(self) -> None:
        only_failed = self._random.random() < 0.7
        self._call("POST", f"{self._run}/clear", json={"dry_run": False, "only_failed": only_failed})

    def _clear_tasks(self) -> None:
        chosen = self._random.sample([*TASKS, CHECK], self._random.randint(1, 3))
        body = {
            "dry_run": False,
            "dag_run_id": self.run_id,
            "task_ids": chosen,
            "only_failed": self._random.random() < 0.3,
            "include_downstream": self._random.random() < 0.3,
            "reset_dag_runs": True,
        }
        self._call("POST", f"dags/{self.dag_id}/clearTaskInstances", json=body)

    def _tasks(self) -> list[tuple[str, int]]:
        with suppress(AirflowError, requests.RequestException):
            found = self._site.airflow.task_instances(self.dag_id, self.run_id)
            return sorted((one["task_id"], one["map_index"]) for one in found if one["task_id"] in TASKS)
        return []

    def _some_task(self) -> tuple[str, int]:
        return self._random.choice(self._tasks() or [("plan", -1)])

    def _mark_task(self) -> None:
        task, index = self._some_task()
        state = self._random.choice(["success", "success", "failed", "skipped"])
        place = f"{task}/{index}" if index >= 0 else task
        self._call("PATCH", f"{self._run}/taskInstances/{place}", json={"new_state": state})

    def _delete_task(self) -> None:
        task, index = self._some_task()
        self._call("DELETE", f"{self._run}/taskInstances/{task}", params={"map_index": index})

    def _delete_run(self) -> None:
        if self._state() in _ENDED:
            self._call("DELETE", self._run)
            self._until(lambda: self._trigger() or self._state() != "unknown")

    def _backfill(self) -> None:
        # One at a time is possible for a DAG; the others are refused.
        moment = "2024-02-29T00:00:00Z"
        body = {
            "dag_id": DAG_ID,
            "from_date": moment,
            "to_date": moment,
            "dag_run_conf": {"prefix": self._prefix},
            "reprocess_behavior": "completed",
            "max_active_runs": 1,
        }
        self._call("POST", "backfills", json=body)

    def _pause(self) -> None:
        with self._site.pausing:
            self._call("PATCH", f"dags/{DAG_ID}", json={"is_paused": True})
            time.sleep(2)
            self._call("PATCH", f"dags/{DAG_ID}", json={"is_paused": False})

    def _end(self) -> str:
        # A run of which somebody has deleted a task can wait for it for ever; it is not green.
        return self._until(lambda: state if (state := self._state()) in _ENDED else "") or "not ended"

    def _until(self, reached: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + _END_S
        while time.monotonic() < deadline:
            found = reached()
            if found:
                return found
            time.sleep(_POLL_S)
        return None


def test_no_order_hides_an_object(site: Site, record_property: Any) -> None:
    """The seeds are printed; ``ORDERS=100`` and ``ORDERS_SEED=7`` choose how many, and the first."""
    first = int(os.environ.get("ORDERS_SEED", random.SystemRandom().randrange(10**6)))
    _say(f"seeds {first} to {first + ORDERS - 1}")
    orders = [Order(site, seed) for seed in range(first, first + ORDERS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        states = list(pool.map(Order.run, orders))
    hidden = []
    for order, state in zip(orders, states, strict=True):
        lost = order.unaccounted() if state == "success" else []
        _say(f"seed {order.seed}: {state}{f', LOST {lost}' if lost else ''}\n  " + "\n  ".join(order.history))
        hidden += [(order.seed, lost)] if lost else []
    counts = {state: states.count(state) for state in sorted(set(states))}
    _say(str(counts))
    record_property("states", str(counts))
    assert hidden == []
    # A run that only ever failed, or only ever succeeded, would show nothing.
    assert counts.get("success")
    assert counts.get("failed")


def test_a_run_marked_failed_is_not_green_when_its_failed_tasks_are_cleared(site: Site) -> None:
    """The report, which is a teardown, runs although the run was marked, and again with the copies.

    As an ordinary task it would be skipped when the run is marked, and Airflow would show the run as successful.
    """
    order = Order(site, 1)
    assert order.marked_failed_and_cleared() == "failed"
    assert order.unaccounted() == []


def test_a_report_that_is_marked_by_hand_makes_no_run_green(site: Site) -> None:
    """The last task finds no report that accounts for the objects."""
    order = Order(site, 2)
    assert order.marked_and_cleared("copy/0", "copy/1", "report", cleared="check_report") == "failed"


def test_a_run_that_timed_out_is_not_green_when_a_task_is_cleared(site: Site) -> None:
    """Airflow's own timeout would skip the report and its check, and leave nothing that could fail.

    Therefore ``dagrun_timeout`` is not passed on to Airflow: with it, the cleared run would be successful.
    """
    assert Order(site, 3, "late").timed_out_and_cleared() == ("failed", "failed")


def _say(text: str) -> None:
    """Print for whoever repeats a seed; pytest shows it when the test fails."""
    sys.stdout.write(f"{text}\n")
