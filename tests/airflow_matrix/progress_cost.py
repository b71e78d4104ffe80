"""Measure what the progress of a running task costs Airflow's database: `python -m tests.airflow_matrix.progress_cost`.

On Postgres, for the XCom of Airflow 3.0 to 3.2 and for the task state store of 3.3: the bytes that each write adds to
the write-ahead log, the time of the transaction, and what the task leaves after its last write and a vacuum.
"""

# ruff: noqa: T201 - a program, which prints what it measured
# ruff: noqa: PLC0415 - Airflow may be imported only once its settings are made

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

WRITES: Final = 200
_CHILD: Final = "--with-database"


def main() -> int:
    """Start Postgres, make Airflow's tables, and measure."""
    if _CHILD in sys.argv[1:]:
        measure()
        return 0
    from tests.cluster.services import postgres

    with tempfile.TemporaryDirectory(prefix="progress-cost-") as folder:
        Path(folder).chmod(0o711)
        (Path(folder) / "postgres").mkdir()
        with postgres(Path(folder) / "postgres") as database:
            variables = os.environ | {"AIRFLOW_HOME": folder, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database}
            airflow = Path(sys.executable).with_name("airflow")
            subprocess.run([airflow, "db", "migrate"], env=variables, check=True, capture_output=True)
            return subprocess.run([sys.executable, "-m", __spec__.name, _CHILD], env=variables, check=False).returncode


def measure() -> None:
    """Print a line for each of both places, for a usual and for the longest record."""
    from airflow.models.xcom import XComModel
    from airflow.settings import Session
    from airflow.state import TaskScope
    from airflow.state.metastore import MetastoreBackend

    from s3_to_azure.airflow.progress import PROGRESS_KEY
    from tests.web.airflow_rows import RunRows, add_dag

    session = cast("Any", Session)()
    add_dag(session, "cost")
    run = RunRows(session, "cost")
    run.copy(0)
    run.done()
    where: dict[str, Any] = {"dag_id": "cost", "run_id": run.run_id, "task_id": "copy", "map_index": 0}
    store, scope = MetastoreBackend(), TaskScope(**where)

    def write_xcom(value: str) -> None:
        XComModel.set(PROGRESS_KEY, value, **where, serialize=False, session=session)

    def write_state(value: str) -> None:
        store.set(scope, PROGRESS_KEY, value, session=session)

    for name, failures in (("usual", 0), ("longest", 20)):
        values = [json.dumps(record(failures)) for _ in range(WRITES + 1)]
        for place, table, write in (("XCom", "xcom", write_xcom), ("state store", "task_state_store", write_state)):
            wal, milliseconds, left = cost(session, table, [partial(write, value) for value in values])
            print(
                f"{place}, {name} record of {len(values[0]):,} characters: {wal:,} bytes of log and "
                f"{milliseconds:.1f} ms each write; {left:,} bytes of table after {WRITES} writes"
            )


def record(failures: int) -> dict[str, Any]:
    """Return a task's progress with this many failed objects, and as much throughput as is kept."""
    from s3_to_azure.airflow.progress import ProgressSnapshot, progress_record
    from s3_to_azure.airflow.throughput import MAX_INTERVALS
    from s3_to_azure.model.progress import Progress

    intervals = [
        [1_795_000_000 + 5 * number, 1_795_000_005 + 5 * number, 987_654_321] for number in range(MAX_INTERVALS)
    ]
    snapshot = ProgressSnapshot(Progress().snapshot(), 240.0, 98_765_432.0)
    return progress_record(
        snapshot, [(secrets.token_hex(150), secrets.token_hex(150)) for _ in range(failures)], intervals
    )


def cost(session: Any, table: str, writes: Sequence[Callable[[], None]]) -> tuple[int, float, int]:
    """Return the bytes of log and the milliseconds of one write, and the table's size after a vacuum."""
    from sqlalchemy import text

    writes[0]()
    session.commit()
    session.execute(text("checkpoint"))
    session.commit()
    before = session.scalar(text("select pg_current_wal_lsn()"))
    began = time.perf_counter()
    for write in writes[1:]:
        write()
        session.commit()
    seconds = time.perf_counter() - began
    bytes_written = session.scalar(text("select pg_wal_lsn_diff(pg_current_wal_lsn(), :before)"), {"before": before})
    session.commit()
    with session.get_bind().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"vacuum full {table}"))
    left = session.scalar(text(f"select pg_total_relation_size('{table}')"))
    session.commit()
    return round(int(bytes_written) / WRITES), 1000 * seconds / WRITES, int(left)


if __name__ == "__main__":
    sys.exit(main())
