"""Workers die, the api-server stops, the state store fails: every blob is correct, and no block is sent twice."""

import json
import time
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped] # no types published
import psycopg2  # type: ignore[import-untyped] # no types published
import pytest

from s3_to_azure.model.limits import MIB
from tests.cluster.airflow_cluster import Cluster, compose_settings, until
from tests.cluster.conftest import Site
from tests.fakes.contexts import some_bytes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

OBJECTS = 4
BLOCKS = 24
OUTAGE_S = 45


@dataclass(frozen=True)
class KilledRun:
    """A run during which a worker was killed.

    Attributes:
        contents: The bytes of each object, by name.
        first: The worker of each batch's first try, by map index.
        staged: How many blocks Azure held of each object of the killed worker.
    """

    run_id: str
    state: str
    contents: dict[str, bytes]
    first: dict[int, str]
    staged: dict[str, int]

    @property
    def killed(self) -> list[int]:
        """The map indexes of the batches that the killed worker had."""
        return [index for index, worker in self.first.items() if worker == "one"]


@pytest.fixture(scope="module")
def killed_run(site: Site) -> KilledRun:
    """Copy four batches on two workers, and kill one worker with all its processes in the middle of them."""
    contents = {f"nightly/{number}": some_bytes(BLOCKS * MIB, seed=number) for number in range(OBJECTS)}
    for name, data in contents.items():
        site.put(name, data)
    run_id = site.trigger("nightly", bandwidth_limit="2MiB")
    until("every object is mid-copy", lambda: all(site.staged(name) >= 2 for name in contents), within_s=120)
    tasks = [one for one in site.airflow.airflow.task_instances("nightly", run_id) if one["task_id"] == "copy"]
    first = {one["map_index"]: one["hostname"] for one in tasks}
    site.airflow.kill("one")
    dead = [name for index, name in enumerate(contents) if first[index] == "one"]
    until("what was on its way has arrived", lambda: all(site.staged(one) >= len(site.arrived(one)) for one in dead))
    staged = {name: site.staged(name) for name in dead}
    until(
        "the retries run",
        lambda: all(_log(site, "nightly", run_id, 2, index) for index in first if first[index] == "one"),
    )
    site.airflow.start_worker("three")
    return KilledRun(run_id, site.ended("nightly", run_id), contents, first, staged)


def test_promise_4_batches_run_on_both_workers(site: Site, killed_run: KilledRun) -> None:
    """Both workers copy batches, every blob is its object, and the report accounts for all."""
    assert killed_run.state == "success"
    assert sorted(killed_run.first) == list(range(OBJECTS))
    assert set(killed_run.first.values()) == {"one", "two"}
    for name, data in killed_run.contents.items():
        assert site.blob(name) == data
        assert site.commits(name) == [201]
    report = _events(site, "nightly", killed_run.run_id, 1, task="report")
    assert any(f"Copied:    {OBJECTS} objects" in line for line in report)
    assert any(f"Verified:  {OBJECTS} by crc64nvme" in line for line in report)


def test_promise_2_retry_on_another_worker_sends_only_missing_blocks(
    site: Site, killed_run: KilledRun, record_property: Any
) -> None:
    """After SIGKILL of a worker another one resumes from Azure's list and sends no block again."""
    assert killed_run.killed
    for index in killed_run.killed:
        task = site.task("nightly", killed_run.run_id, map_index=index)
        assert (task["hostname"], task["try_number"], task["state"]) == ("two", 2, "success")
        name = f"nightly/{index}"
        staged, left = killed_run.staged[name], BLOCKS - killed_run.staged[name]
        assert 0 < staged < BLOCKS
        found = f"{name!r}: {staged} of {BLOCKS} blocks ({staged}.0 MiB) are already in Azure; {left}.0 MiB to send"
        assert found in _events(site, "nightly", killed_run.run_id, 2, index)
        # Only blocks that arrived completely are counted: none did twice.
        arrived = site.arrived(name)
        assert len(arrived) == len(set(arrived)) == BLOCKS
    record_property("blocks_found_by_the_retries", sum(killed_run.staged.values()))


def test_invariant_2_zombie_beside_its_own_retry(site: Site, killed_run: KilledRun, record_property: Any) -> None:
    """A task that outlives its worker runs beside its retry: one commit, the correct bytes, no failure."""
    site.airflow.wait_for_worker("three")
    blocks = 36
    data = some_bytes(blocks * MIB)
    site.put("orphaned", data)
    run_id = site.trigger("one_object", key="orphaned", bandwidth_limit="1MiB")
    until("it is mid-copy", lambda: site.staged("orphaned") >= 3)
    worker = site.task("one_object", run_id)["hostname"]
    (zombie,) = site.airflow.tasks_of(worker)
    site.airflow.kill(worker, but=[zombie])
    found = until("the retry has listed", lambda: _line(site, "one_object", run_id, 2, "are already in Azure"))
    before = site.staged("orphaned")
    until("both stage", lambda: len(site.arrived("orphaned")) > len(set(site.arrived("orphaned"))))
    assert _lives(zombie)
    assert site.ended("one_object", run_id) == "success"
    until("the zombie has ended", lambda: not _lives(zombie))
    assert site.task("one_object", run_id)["try_number"] == 2
    assert site.blob("orphaned") == data
    assert sorted(site.commits("orphaned")) in ([201], [201, 409])
    assert "0 of" not in found
    assert before >= 3
    # Both writers use the same block ids, so a block that both sent is staged once.
    assert len(set(site.arrived("orphaned"))) == blocks
    record_property("blocks_sent_by_both", len(site.arrived("orphaned")) - blocks)


def test_promise_2_transfer_survives_an_outage_of_the_api_server(site: Site, killed_run: KilledRun) -> None:
    """A copy goes on while the api-server is stopped for 45 s, and succeeds in its first try."""
    timeout = int(compose_settings()["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"])
    site.airflow.kill("scheduler")
    site.airflow.start_scheduler(heartbeat_timeout_s=timeout)
    blocks = OUTAGE_S + 12
    data = some_bytes(blocks * MIB)
    site.put("outage", data)
    run_id = site.trigger("one_object", key="outage", bandwidth_limit="1MiB")
    until("it is mid-copy", lambda: site.staged("outage") >= 3)
    site.airflow.kill("api-server")
    before = site.staged("outage")
    time.sleep(OUTAGE_S)
    during = site.staged("outage") - before
    site.airflow.start_api()
    site.airflow.wait_for_api()
    assert site.ended("one_object", run_id) == "success"
    assert during > OUTAGE_S // 2
    assert site.task("one_object", run_id)["try_number"] == 1
    assert site.blob("outage") == data
    assert len(site.arrived("outage")) == blocks


def test_promise_4_copy_succeeds_without_the_state_store(site: Site, killed_run: KilledRun) -> None:
    """Without the state store's table the log says once that progress cannot be shown."""
    for name in site.airflow.workers():
        site.airflow.kill(name)
    # By default a worker sends 30 requests, which takes minutes; the copy would go on meanwhile.
    site.airflow.start_worker("four", AIRFLOW__WORKERS__EXECUTION_API_RETRIES="2")
    data = some_bytes(12 * MIB)
    site.put("unshown", data)
    site.airflow.wait_for_worker("four")
    _sql(site.airflow, "ALTER TABLE task_state_store RENAME TO task_state_store_away")
    try:
        run_id = site.trigger("one_object", key="unshown", bandwidth_limit="2MiB")
        assert site.ended("one_object", run_id) == "success"
    finally:
        _sql(site.airflow, "ALTER TABLE task_state_store_away RENAME TO task_state_store")
    assert site.task("one_object", run_id)["try_number"] == 1
    assert site.blob("unshown") == data
    told = [line for line in _events(site, "one_object", run_id, 1) if "Progress cannot be shown" in line]
    assert len(told) == 1


def _log(site: Site, dag_id: str, run_id: str, try_number: int, map_index: int = -1, task: str = "copy") -> str:
    return site.airflow.task_log(dag_id, run_id, task, try_number, map_index)


def _events(
    site: Site, dag_id: str, run_id: str, try_number: int, map_index: int = -1, task: str = "copy"
) -> list[str]:
    """Return the events of the log."""
    lines = _log(site, dag_id, run_id, try_number, map_index, task).splitlines()
    return [str(json.loads(line)["event"]) for line in lines]


def _line(site: Site, dag_id: str, run_id: str, try_number: int, words: str) -> str:
    # The last line may be incomplete.
    lines = _log(site, dag_id, run_id, try_number).split("\n")[:-1]
    return next((event for event in (str(json.loads(line)["event"]) for line in lines) if words in event), "")


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _sql(cluster: Cluster, statement: str) -> None:
    connection = psycopg2.connect(cluster.database.replace("+psycopg2", ""))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
