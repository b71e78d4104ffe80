"""What a waiting sensor notes in Airflow, and reads there: when its wait ends, and what it has seen before."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from s3_to_azure.airflow.arguments import (
    FLAG,
    INTEGER,
    MAPPING,
    TEXT,
    TEXTS,
    VERIFY,
    Kind,
    check_kinds,
    is_known,
)
from s3_to_azure.airflow.compat import Context
from s3_to_azure.airflow.migration.run_state import try_number_of
from s3_to_azure.airflow.progress import WAITING_KEY
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import S3, CredentialsUnavailable, TransferError, UsageError
from s3_to_azure.model.names import check_bucket, check_container
from s3_to_azure.model.uris import parse_inventory, parse_key_list, parse_report

DEADLINE_KEY: Final = "deadline"
"""Key in Airflow's ``task_state_store``: when the wait ends that the first try began."""

_MAX_SOURCE: Final = 1_000

log = logging.getLogger(__name__)

_KINDS: Final[Mapping[str, Kind]] = {
    "bucket_name": TEXT,
    "prefix": TEXT,
    "keys_from": TEXT.or_none,
    "checksums_from": TEXT.or_none,
    "inventory": TEXT.or_none,
    "min_objects": INTEGER,
    "allow_empty": FLAG,
    "manual_runs_wait": FLAG,
    "include": TEXTS,
    "exclude": TEXTS,
    "aws_conn_id": TEXT.or_none,
    "wasb_conn_id": TEXT,
    "state_container": TEXT.or_none,
    "create_container": FLAG,
    "s3_verify": VERIFY.or_none,
    "s3_extra_args": MAPPING.or_none,
    "wasb_extra_args": MAPPING.or_none,
    "deferrable": FLAG,
}


def check_sensor(sensor: Any) -> None:  # noqa: ANN401 - the sensor, which imports this module
    """Check the arguments of an ``S3ObjectsSensor``.

    Raises:
        UsageError: One cannot be used, or two contradict each other.
    """
    task = sensor.task_id
    check_kinds(task, {name: getattr(sensor, name) for name in _KINDS}, _KINDS)
    if is_known(sensor.bucket_name):
        check_bucket(sensor.bucket_name)
    if sensor.state_container is not None and is_known(sensor.state_container):
        check_container(sensor.state_container)
    if sensor.min_objects < 1:
        raise UsageError(
            detail=f"{task}: min_objects={sensor.min_objects} is below 1. To wait for none, pass allow_empty=True."
        )
    given = [name for name in ("keys_from", "inventory") if getattr(sensor, name) is not None]
    if given and (len(given) > 1 or sensor.min_objects != defaults.MIN_OBJECTS or sensor.include or sensor.exclude):
        others = "keys_from" if len(given) > 1 else "min_objects, include or exclude"
        raise UsageError(detail=f"{task}: {given[-1]} cannot be combined with {others}.")
    _check_addresses(sensor)
    if sensor.deferrable and sensor.s3_extra_args:
        raise UsageError(detail=f"{task}: s3_extra_args cannot be combined with deferrable=True.")


def _check_addresses(sensor: Any) -> None:  # noqa: ANN401 - see above
    if sensor.keys_from is not None and is_known(sensor.keys_from) and is_known(sensor.bucket_name):
        parse_key_list(sensor.keys_from, bucket=sensor.bucket_name, name="keys_from")
    for name, parse in (("checksums_from", parse_report), ("inventory", parse_inventory)):
        address = getattr(sensor, name)
        if address and sensor.state_container is None:
            raise UsageError(detail=f"{sensor.task_id}: {name} goes into the listing: pass state_container too.")
        if address and is_known(address):
            parse(address, name=name)


def has_poked(context: Context) -> bool:
    """Return whether an earlier process of this task has read S3: a poke that cannot is not followed by another one."""
    return try_number_of(context) > 1 or bool(context.get("task_reschedule_count"))


def first_deadline(context: Context, *, timeout_s: float, retries: int | None) -> datetime:
    """Return when the wait ends that this task's first try began; clearing the task begins another wait.

    Airflow keeps it for sensors that reschedule themselves, but not for those that are deferred.

    Args:
        context: The task's.
        timeout_s: How long the wait takes.
        retries: The task's own.
    """
    deadline = datetime.now(UTC) + timedelta(seconds=timeout_s)
    # Before 3.3 Airflow has no such store, and each try waits for the whole time.
    instance, store = context.get("ti"), cast("Any", context.get("task_state_store"))
    if instance is None or store is None:
        return deadline
    first_try = int(getattr(instance, "max_tries", 0) or 0) - int(retries or 0) + 1
    try:
        noted = store.get(DEADLINE_KEY) if instance.try_number > first_try else None
        if isinstance(noted, Mapping) and noted.get("first_try") == first_try:
            return datetime.fromisoformat(noted["until"])
        store.set(DEADLINE_KEY, {"first_try": first_try, "until": deadline.isoformat()})
    except Exception as error:  # noqa: BLE001 - a note that is lost or damaged only lengthens the wait
        log.warning("A retry will wait for the whole time again, because its end could not be noted (%.120s)", error)
    return deadline


def triggerer_error(task_id: str, event: Mapping[str, Any]) -> TransferError:
    """Return the error of a triggerer that cannot wait for objects, as the trigger's event tells."""
    told = f"the triggerer cannot read S3 ({event['problem']})"
    if event.get("may_pass"):
        return CredentialsUnavailable(service=S3, detail=told)
    return UsageError(
        detail=f"{task_id}: {told}, so nobody would wait for the objects. Give it the connection, the identity and the "
        "network of the workers, and the package apache-airflow-providers-amazon[aiobotocore]; or pass "
        "deferrable=False."
    )


def show_waiting(context: Context, sensor: Any, *, found: str, deadline: datetime | None) -> None:  # noqa: ANN401 - importing the sensor would be circular
    """Leave for the Migration page what the sensor waits for, what it has found, when it looks next, and how long.

    Args:
        context: The task's.
        sensor: The sensor, with its templates rendered.
        found: How many objects of how many; empty for a list of keys or an inventory.
        deadline: When the wait ends; None: the first poke began it.
    """
    instance = context.get("ti")
    if instance is None:
        return
    # 2.10 and 2.11 have the date of the first poke in their database alone.
    first_poke = getattr(instance, "get_first_reschedule_date", lambda _: None)(context)
    now = datetime.now(UTC)
    until = deadline or (first_poke or now) + timedelta(seconds=sensor.timeout)
    source = sensor.keys_from or sensor.inventory or f"s3://{sensor.bucket_name}/{sensor.prefix}"
    instance.xcom_push(
        WAITING_KEY,
        {
            "source": source[:_MAX_SOURCE],
            "found": found,
            "until": until.isoformat(),
            "next_look": (now + timedelta(seconds=sensor.poke_interval)).isoformat(),
        },
    )
