"""Two migrations whose blobs can have the same names: they are told when DAGs are parsed and when a run is planned.

Each would take the other's blobs for copies of other objects, and refuse or replace them. When a DAG file is parsed,
the migrations of this process are compared: all of the file, and of the whole folder where one process reads it. When a
run is planned, its prefixes are rendered; each plan leaves them in the state container, and reads those of other DAGs.
"""

import json
import logging
import warnings
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from s3_to_azure.model.errors import CorruptState, TransferError
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.uris import TEMPLATE_MARKS, is_template

MAPPINGS: Final = "~mappings"
"""The folder, in place of a DAG's, in which each DAG leaves what it copies where; no DAG id has a tilde."""

# What a template may name and still has one value in all DAGs on one night.
_SAME_EVERYWHERE: Final = frozenset(
    {"ds", "ds_nodash", "ts", "ts_nodash", "logical_date", "data_interval_start", "data_interval_end", "macros"}
)
_CURE: Final = "Give each its own blob_prefix (docs/operations.md)."
_FRESH: Final = timedelta(days=100)
_MAX_SHOWN: Final = 5
_MAX_OTHERS: Final = 1_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NameMapping:
    """What a task copies where.

    Attributes:
        owner: Whose it is, for people.
        bucket: The bucket.
        s3_prefix: What the keys begin with, or the only key.
        account: What tells accounts apart.
        container: The container.
        blob_prefix: What the blobs' names begin with in place of ``s3_prefix``, or the name of the only blob.
        is_object: It is one object.
    """

    owner: str
    bucket: str
    s3_prefix: str
    account: str
    container: str
    blob_prefix: str
    is_object: bool = field(default=False, kw_only=True)

    @property
    def text(self) -> str:
        """The mapping for people, who may have written anything into it."""
        names = [f"s3://{self.bucket}/{self.s3_prefix}", f"az://{self.container}/{self.blob_prefix}"]
        return " to ".join(repr(name[:300]) for name in names)

    def overlaps(self, other: "NameMapping") -> bool:
        """Return whether both can write one blob from different objects; False if that is not certain.

        Filters, lists of keys and a run's Params only narrow what is copied, by what is there, so they do not count.
        Two mappings of one source that agree on each blob's name, such as ``a/`` to ``x/a/`` and ``a/b/`` to
        ``x/a/b/``, copy the same objects, which is no conflict.
        """
        if (self.account, self.container) != (other.account, other.container) or not _is_comparable(self.container):
            return False
        outer, inner = sorted((self, other), key=lambda one: len(one.blob_prefix))
        if not inner.blob_prefix.startswith(outer.blob_prefix) or not _is_comparable(outer.blob_prefix):
            return False
        rest = inner.blob_prefix[len(outer.blob_prefix) :]
        if outer.is_object and (rest or not inner.is_object):
            return False
        return _surely_differ(outer.bucket, inner.bucket) or _surely_differ(outer.s3_prefix + rest, inner.s3_prefix)


def _is_comparable(text: str) -> bool:
    """Return whether the text is the same in each DAG: it holds no template, or only ones of the interval."""
    if not is_template(text):
        return True
    # Whoever has templates has Airflow, which has imported it already.
    from jinja2 import Environment, TemplateError, meta  # noqa: PLC0415 - not needed where nothing is a template

    try:
        # Nothing is rendered.
        parsed = Environment(autoescape=True).parse(text)
    except TemplateError:
        return False
    return meta.find_undeclared_variables(parsed) <= _SAME_EVERYWHERE


def _surely_differ(one: str, other: str) -> bool:
    """Return whether both, which may be templates, name different things."""
    if one == other:
        return False
    if _is_comparable(one) and _is_comparable(other):
        return True
    heads = [min((text.partition(mark)[0] for mark in TEMPLATE_MARKS), key=len) for text in (one, other)]
    return not (heads[0].startswith(heads[1]) or heads[1].startswith(heads[0]))


_TEXTS: Final = tuple(one.name for one in fields(NameMapping) if not one.kw_only)
_parsed: dict[str, tuple["weakref.ref[object]", NameMapping]] = {}


def warn_of_overlaps(dag: object, mapping: NameMapping) -> None:
    """Warn if another task of a DAG that this process has parsed, and still holds, can write the same blobs."""
    others = [theirs for held, theirs in list(_parsed.values()) if held() is not None and theirs.owner != mapping.owner]
    _parsed[mapping.owner] = weakref.ref(dag), mapping
    found = [theirs for theirs in others if mapping.overlaps(theirs)]
    if found:
        # DagBag keeps warnings, and Airflow's DAG processor logs them.
        warnings.warn(_sentence(mapping, found), stacklevel=3)


def planned_overlaps(files: StateFiles, own: str, mapping: NameMapping) -> list[str]:
    """Leave the run's mapping for the plans of other DAGs; return a warning if one of theirs overlaps with it.

    What others have left is read without trust: nothing but the warning depends on it.

    Args:
        files: The folder of the container in ``MAPPINGS``.
        own: The DAG's file in it.
        mapping: What the run copies where, rendered.
    """
    now = datetime.now(UTC)
    try:
        with files.write(own) as out:
            out.write(json.dumps(asdict(mapping) | {"planned_at": now.isoformat()}).encode())
        names = [name for name in islice(files.names(), _MAX_OTHERS) if name != own]
        left = [_read(files, name, now - _FRESH) for name in names]
    except TransferError as error:
        log.warning("It is not known whether other DAGs write the same blobs: %s", error)
        return []
    found = [theirs for theirs in left if theirs is not None and mapping.overlaps(theirs)]
    return [_sentence(mapping, found)] if found else []


def _read(files: StateFiles, name: str, after: datetime) -> NameMapping | None:
    """Return what a DAG has left; None if that cannot be read, or is so old that the DAG may be gone."""
    with suppress(CorruptState, ValueError, KeyError, TypeError, AttributeError):
        values = json.loads(next(iter(files.chunks(name)), b""))
        if datetime.fromisoformat(values["planned_at"]) > after:
            return NameMapping(*(str(values[field]) for field in _TEXTS))
    return None


def _sentence(mapping: NameMapping, found: list[NameMapping]) -> str:
    shown = "; ".join(f"{theirs.owner[:250]!r}: {theirs.text}" for theirs in found[:_MAX_SHOWN])
    more = f", and {len(found) - _MAX_SHOWN:,} more" if len(found) > _MAX_SHOWN else ""
    return (
        f"{mapping.owner!r} ({mapping.text}) can write the same blobs as {shown}{more}. Each would take the other's "
        f"blobs for copies of other objects. {_CURE}"
    )
