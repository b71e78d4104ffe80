"""The only way from the API server to a state container: it reads the files of a run's report, where that is allowed.

Airflow's setting ``[s3_to_azure] report_connections`` names the connections that the API server may use for it,
separated by commas; by default it may use none. A route that has checked that the user may read the run's results
uses it so::

    location = report_location(dag_id, run_id, plan)      # the plan's summary, from the run's XCom
    with open_report(location) as files:                  # files.chunks(name), in constant memory
        ...
    StreamingResponse(report_chunks(location, "report.csv"))

Connection and container are the run's own settings, and the folder follows from the two ids, so a request cannot choose
an address. Both functions raise ``ReportUnavailable``, whose sentence is for the user, before they yield anything.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, Final

from s3_to_azure.airflow.compat import conf
from s3_to_azure.airflow.migration.dag_arguments import STATE_CONNECTION, STATE_CONTAINER
from s3_to_azure.model.errors import CorruptState, TransferError
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.web.values import text

if TYPE_CHECKING:
    from s3_to_azure.model.ports import StateFiles

SECTION: Final = "s3_to_azure"
OPTION: Final = "report_connections"

# Each holds a thread of the API server and up to 4 MiB, and waits for the storage account.
_READERS: Final = BoundedSemaphore(4)
_PATIENCE_S: Final = 5.0
_BUDGET: Final = RetryBudget(attempts=2, first_wait_s=0.2, longest_wait_s=1.0)


class ReportUnavailable(Exception):
    """The files of a report cannot be read here.

    Args:
        status: The HTTP status that says so.
        detail: A sentence for the user.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ReportLocation:
    """Where a run keeps its report."""

    dag_id: str
    run_id: str
    wasb_conn_id: str
    container: str


def report_location(dag_id: str, run_id: str, plan: Mapping[str, Any]) -> ReportLocation:
    """Return where a run keeps its report.

    Args:
        dag_id: A DAG whose results the user may read.
        run_id: The run.
        plan: The summary of the run's plan; before there is one, nothing can be opened.
    """
    return ReportLocation(dag_id, run_id, text(plan, STATE_CONNECTION), text(plan, STATE_CONTAINER))


def check_allowed(location: ReportLocation) -> None:
    """Check that the API server may open the report.

    Raises:
        ReportUnavailable: The run names no connection, or one that the setting does not allow.
    """
    conn_id = location.wasb_conn_id
    if not conn_id or not location.container:
        raise ReportUnavailable(404, "This run has noted no place for its report: it has no plan, or is an older one.")
    allowed = str(conf.get(SECTION, OPTION, fallback="") or "")
    if conn_id not in (name.strip() for name in allowed.split(",")):
        raise ReportUnavailable(
            404,
            f"The API server may not read the report's files. To let it, name the connection {conn_id!r} in its "
            f"setting [{SECTION}] {OPTION}.",
        )


def is_allowed(location: ReportLocation) -> bool:
    """Return whether the API server may open the report; whether it can shows only when it tries."""
    try:
        check_allowed(location)
    except ReportUnavailable:
        return False
    return True


@contextmanager
def open_report(location: ReportLocation) -> Iterator["StateFiles"]:
    """Open the files of a run for reading, a few at once in this process.

    Raises:
        ReportUnavailable: They may not, or cannot, be read; inside the block too.
    """
    check_allowed(location)
    from s3_to_azure.airflow.azure_hook import read_only_files  # noqa: PLC0415 - only who is allowed needs the SDK

    if not _READERS.acquire(timeout=_PATIENCE_S):
        raise ReportUnavailable(503, "The API server reads other reports. Try again in a moment.")
    try:
        with read_only_files(
            location.wasb_conn_id,
            location.container,
            dag_id=location.dag_id,
            run_id=location.run_id,
            budget=_BUDGET,
        ) as files:
            yield files
    except CorruptState as error:
        raise ReportUnavailable(404, f"The report cannot be read: {error}") from None
    except TransferError as error:
        raise ReportUnavailable(503, f"The report cannot be read: {error}") from None
    finally:
        _READERS.release()


def report_chunks(location: ReportLocation, name: str) -> Iterator[bytes]:
    """Return the pieces of a file of the report, of a few MiB each; the connection is closed with the iterator.

    Args:
        location: From ``report_location``.
        name: One of ``model.names.REPORT_FILES``.

    Raises:
        ReportUnavailable: The file may not, or cannot, be read; no piece has been returned yet.
    """
    chunks = _chunks(location, name)
    next(chunks)
    return chunks


def _chunks(location: ReportLocation, name: str) -> Iterator[bytes]:
    with open_report(location) as files:
        chunks = files.chunks(name)
        first = next(chunks, b"")
        # The caller takes this one, so that what fails does so before a response has begun.
        yield b""
        yield first
        yield from chunks
