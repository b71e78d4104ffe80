"""What a task raises, and the note of it that the task leaves in Airflow, whose database keeps no exception."""
# ruff: noqa: ANN401 - Airflow's own types here differ between its versions

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from s3_to_azure.airflow.compat import (
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTimeout,
    task_error,
)
from s3_to_azure.airflow.progress import ERROR_KEY, progress_store
from s3_to_azure.model.errors import Cancelled, PermanentError, TransferError

_MAX_MESSAGE: Final = 2_000
_MAX_SUBJECT: Final = 1_200
# Exceptions by which a task tells Airflow something else than a failure.
_NO_FAILURES: Final = (AirflowSkipException, AirflowRescheduleException)

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

log = logging.getLogger(__name__)


def raises_task_errors(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Make a function of a task note its error for the Migration page, and raise ours as ``task_error`` returns them.

    One of the function's arguments is the task's context.
    """

    @wraps(function)
    def raising(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return function(*args, **kwargs)
        except _NO_FAILURES:
            raise
        except TransferError as error:
            note_error(_context_among(*args, *kwargs.values()), error)
            raise task_error(error) from None
        except (Exception, AirflowTaskTimeout) as error:
            note_error(_context_among(*args, *kwargs.values()), error)
            raise

    return raising


def note_error(context: Mapping[str, Any] | None, error: BaseException) -> None:
    """Leave an error in Airflow, in place of that of an earlier try; a failure to do so is only logged."""
    store = progress_store(context) if context else None
    if store is None or context is None:
        return
    try:
        store.set(ERROR_KEY, error_record(context, error))
    except Exception as failure:  # noqa: BLE001 - the error itself matters more
        log.debug("The error cannot be shown in the web UI (%.120s)", failure)


def error_record(context: Mapping[str, Any], error: BaseException) -> dict[str, Any]:
    """Return what the Migration page shows of an error: its name, its sentence, on what, and in which try."""
    is_ours = isinstance(error, TransferError)
    return {
        "error": type(error).__name__,
        "message": (str(error) if is_ours else _redacted(error))[:_MAX_MESSAGE],
        "subject": _subject(context.get("task"))[:_MAX_SUBJECT],
        "may_pass": not isinstance(error, PermanentError) if is_ours else None,
        "is_stop": isinstance(error, Cancelled),
        "try_number": int(getattr(context.get("ti"), "try_number", 1)),
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _redacted(error: BaseException) -> str:
    """Return the text of an error that is not ours, which may hold what it was given."""
    from s3_to_azure.stores.http.redaction import redact  # noqa: PLC0415 - not for whoever parses DAGs

    return redact(str(error))


def _context_among(*arguments: object) -> Mapping[str, Any] | None:
    return next((each for each in arguments if isinstance(each, Mapping) and "ti" in each), None)


def _subject(task: Any) -> str:
    """Return what the task reads; empty for a batch, which has a label, and for a task that reads no objects."""
    bucket = getattr(task, "s3_bucket", None) or getattr(task, "bucket_name", None)
    if not bucket or getattr(task, "batch", None):
        return ""
    read = getattr(task, "s3_key", None) or getattr(task, "s3_prefix", None) or getattr(task, "prefix", None) or ""
    return f"s3://{bucket}/{read}"
