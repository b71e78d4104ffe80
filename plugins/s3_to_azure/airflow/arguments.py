"""What a DAG's author passes, checked when the DAG is parsed: names, types, and every value that is known by then."""
# ruff: noqa: ANN401 - the operator imports this module, so that importing it here would be circular

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.options import did_you_mean
from s3_to_azure.model.uris import is_template

MAPPING_CURE: Final = (
    "To map a task over keys, pass a list of them, as in S3ToAzureBlobStreamOperator.partial(...)"
    ".expand(s3_key=sensor.keys()); for many objects use s3_to_azure.dag.migration_dag, which divides them into tasks."
)


def is_known(value: object) -> bool:
    """Return whether the value is final when the DAG is parsed: neither a template nor the output of a task."""
    return not is_template(value) and not callable(getattr(value, "resolve", None))


def check_names(given: Iterable[str], names: Iterable[str], *, what: str) -> None:
    """Check that each name is one of those that exist.

    Args:
        given: The names.
        names: Those that exist.
        what: What is named, for the error, such as ``filter``.

    Raises:
        UsageError: One does not exist; the message has those that are most like it, or all.
    """
    known = sorted(names)
    for name in given:
        if name not in known:
            cure = did_you_mean(str(name), known) or f" There are {', '.join(known)}."
            raise UsageError(detail=f"There is no {what} {name!r}.{cure}")


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument must be.

    Attributes:
        expected: The kind as a part of a sentence.
        accepts: Returns whether a value is of this kind.
    """

    expected: str
    accepts: Callable[[Any], bool]

    @property
    def or_none(self) -> "Kind":
        """The kind that accepts None too."""
        return Kind(self.expected, lambda value: value is None or self.accepts(value))


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    # A text is a sequence of texts too, and its characters are no patterns.
    if isinstance(value, str) or not isinstance(value, Sequence):
        return False
    return all(isinstance(item, str) and item for item in value)


TEXT: Final = Kind("a text", lambda value: isinstance(value, str))
FLAG: Final = Kind("True or False", lambda value: isinstance(value, bool))
VERIFY: Final = Kind("True, False or the path of a CA bundle", lambda value: isinstance(value, bool | str))
SIZE: Final = Kind(
    "a size such as 256MiB, or a number of bytes", lambda value: isinstance(value, str) or _is_integer(value)
)
INTEGER: Final = Kind("a whole number", _is_integer)
COUNT: Final = Kind("a whole number of 1 or more", lambda value: _is_integer(value) and value >= 1)
RETRIES: Final = Kind("a whole number of 0 or more", lambda value: _is_integer(value) and value >= 0)
DURATION: Final = Kind(
    "a timedelta, such as timedelta(minutes=5)", lambda value: isinstance(value, timedelta) and value >= timedelta(0)
)
MAPPING: Final = Kind(
    "a mapping by names",
    lambda value: isinstance(value, Mapping) and all(isinstance(name, str) for name in value),
)
TEXTS: Final = Kind("a list of texts, such as ['*.csv']", _is_texts)


def check_kinds(owner: str, values: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Check the kind of every value that is known.

    Args:
        owner: Whose arguments they are, for the error: the id of the task or the DAG.
        values: The arguments.
        kinds: What each of them must be.

    Raises:
        UsageError: A value is something else.
    """
    for name, kind in kinds.items():
        value = values[name]
        if is_known(value) and not kind.accepts(value):
            raise UsageError(detail=f"{owner}: {name}={value!r} is not {kind.expected}.")


def check_selection(task: Any) -> None:
    """Check that a copy task selects its objects in one way, and that their blobs have one name.

    Raises:
        UsageError: It does not.
    """
    if task.source_url is not None:
        _check_url(task)
        return
    if task.s3_bucket is None:
        raise UsageError(
            detail=f"{task.task_id}: s3_bucket=None is not a text. Pass the bucket, or source_url to read one object "
            "by its URL."
        )
    for name, expected in (("s3_key", str), ("s3_prefix", str), ("batch", Mapping)):
        value = getattr(task, name)
        if value is not None and is_known(value) and not isinstance(value, expected):
            raise UsageError(detail=f"{task.task_id}: {name}={value!r} selects nothing. {MAPPING_CURE}")
    key, prefix, batch = _is_given(task, "s3_key"), _is_given(task, "s3_prefix"), task.batch is not None
    # Passed alone, an empty prefix is the whole bucket.
    nothing = (key, prefix, batch) == (False, False, False) and (task.s3_prefix is None or task.s3_key is not None)
    if batch and key:
        raise UsageError(detail=f"{task.task_id}: batch can be combined with s3_prefix, but not with s3_key.")
    if nothing or (key and prefix):
        names = "none" if nothing else "s3_key and s3_prefix (Airflow's own operator ignores s3_prefix then)"
        raise UsageError(detail=f"{task.task_id}: pass exactly one of s3_key, s3_prefix and batch, not {names}.")
    _check_blob(task, key=key)


def _check_url(task: Any) -> None:
    """Check a task that reads one object by its URL; no error shows the URL, which is a secret."""
    text = task.source_url
    if not isinstance(text, str):
        raise UsageError(
            detail=f"{task.task_id}: source_url must be a text: a URL, or better a template such as "
            "{{ var.value.partner_url }}. The output of a task would be kept in XCom, where everybody can read it."
        )
    others = ("s3_bucket", "s3_key", "s3_prefix", "batch", "s3_extra_args")
    given = [name for name in others if getattr(task, name)]
    if given:
        raise UsageError(detail=f"{task.task_id}: source_url says itself what is read: leave out {', '.join(given)}.")
    _check_blob(task, key=True)


def _check_blob(task: Any, *, key: bool | None) -> None:
    """Check the arguments that name the blobs; ``key`` says whether ``s3_key`` is given."""
    name, prefix = _is_given(task, "blob_name"), _is_given(task, "blob_prefix")
    if name and key is False:
        raise UsageError(detail=f"{task.task_id}: blob_name needs s3_key; blob_prefix names the blobs of a prefix.")
    if name and prefix:
        raise UsageError(
            detail=f"{task.task_id}: blob_name cannot be combined with blob_prefix. Leave out blob_prefix, which "
            "Airflow's own operator ignores then."
        )
    is_key = (task.s3_key or task.source_url) and not task.s3_prefix
    if is_key and isinstance(task.blob_prefix, str) and task.blob_prefix.endswith("/"):
        raise UsageError(
            detail=f"{task.task_id}: blob_prefix={task.blob_prefix!r} ends in a slash, and with s3_key another one "
            f"follows, as in Airflow's own operator. Pass blob_prefix={task.blob_prefix.rstrip('/')!r}, or the "
            "whole name as blob_name."
        )


def _is_given(task: Any, name: str) -> bool | None:
    """Return whether an argument is passed and not empty; None while it has still to be rendered."""
    value = getattr(task, name)
    return bool(value) if is_known(value) else None
