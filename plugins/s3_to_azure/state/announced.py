"""The keys that events have announced, in batches that wait in the state container until a run has reported them.

A batch is a file of JSON lines with its digest in its name. It moves from ``waiting/`` to ``taken/RUN/`` when a run
takes it, and to ``done/RUN/`` when that run has reported, from where the run takes it again if it is cleared. A move
writes the new file before it deletes the old one, so a batch is always somewhere; one that is in two places is copied
by two runs, of which the later one finds nothing to do.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.names import folder_name, id_of
from s3_to_azure.model.ports import IsOver, StateFiles
from s3_to_azure.state.formats import with_version
from s3_to_azure.state.lines import Key, LinesWriter, typed_lines

EVENTS: Final = "~events"
"""The folder, in place of a DAG's, in which each DAG has a folder for its announced keys; no DAG id has a tilde."""

MAX_BATCH_BYTES: Final = 16 * MIB
_WAITING: Final = "waiting/"
_TAKEN: Final = "taken/"
_DONE: Final = "done/"
_REFUSED: Final = "refused/"
_LISTED: Final = "listed.json"
_KEPT: Final = timedelta(days=8)
"""How long done batches and notes are kept: longer than a listing of a week's schedule is away."""

_UNKNOWN_RUN_IS_OVER: Final = timedelta(days=1)
_MAX_DELETED_AT_ONCE: Final = 1_000
_STAMP: Final = "%Y%m%dT%H%M%S.%fZ"
_NAME: Final = re.compile(r"(?P<stamp>\d{8}T\d{6}\.\d{6}Z)-(?P<sha256>[0-9a-f]{64})\.jsonl\.gz")

log = logging.getLogger(__name__)


class AnnouncedLine(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An object that an event has announced.

    Attributes:
        etag: The ETag of the announced version; empty if the event has none.
        sequencer: Hexadecimal digits that order the events of one key; empty if the event has none.
    """

    key: Key
    etag: Annotated[str, Meta(max_length=256)] = ""
    sequencer: Annotated[str, Meta(max_length=64)] = ""


class RefusedLine(msgspec.Struct, frozen=True, gc=False):
    """A note of a message that is not an event of this migration, or not one at all.

    Attributes:
        beginning: The first characters of the message.
    """

    message_id: str
    problems: tuple[str, ...]
    sha256: str
    beginning: str


class AnnouncedKeys:
    """The batches of one migration.

    Args:
        files: The migration's folder in ``EVENTS``.
    """

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self.location = files.location

    def add(self, lines: Iterable[AnnouncedLine], now: datetime) -> str:
        """Write a batch, which waits from now on; return its name."""
        return self._write(_WAITING, lines, now)

    def note(self, refused: Iterable[RefusedLine], now: datetime) -> str:
        """Write notes of messages that are not used; return the file's name."""
        return self._write(_REFUSED, refused, now)

    def waiting(self) -> list[str]:
        """Return the names of the batches that no run has taken, oldest first."""
        names = (path.removeprefix(_WAITING) for path in self._files.names(_WAITING))
        return sorted(name for name in names if _NAME.fullmatch(name))

    def take(self, run_id: str, *, is_over: IsOver, now: datetime) -> int:
        """Take all waiting batches, and those of runs that ended without a report; return how many the run has.

        Repeating it after any interruption is harmless. A run that has reported and is cleared takes again what it
        had: its report may have told of failures.

        Args:
            run_id: The run that takes them.
            is_over: Tells which runs have ended.
            now: The current time.
        """
        own = f"{_TAKEN}{folder_name(run_id)}/"
        for name in self.waiting():
            self._move(f"{_WAITING}{name}", own + name)
        for path in list(self._files.names(_done_by(run_id))):
            self._move(path, own + path.rpartition("/")[2])
        over: dict[str, bool | None] = {}
        for path in list(self._files.names(_TAKEN)):
            folder, _, name = path.removeprefix(_TAKEN).partition("/")
            if path.startswith(own) or not _NAME.fullmatch(name):
                continue
            if folder not in over:
                over[folder] = is_over(id_of(folder))
            is_old = (_stamp_of(name) or now) < now - _UNKNOWN_RUN_IS_OVER
            if over[folder] or (over[folder] is None and is_old):
                self._move(path, own + name)
        return sum(1 for _ in self._files.names(own))

    def holds(self, run_id: str) -> bool:
        """Return whether the run has taken a batch, reported or not."""
        own = (f"{_TAKEN}{folder_name(run_id)}/", _done_by(run_id))
        return any(True for folder in own for _ in self._files.names(folder))

    def lines(self, run_id: str) -> Iterator[AnnouncedLine]:
        """Yield what the batches of a run announce; a damaged one is left out, and the log says so."""
        for path in list(self._files.names(f"{_TAKEN}{folder_name(run_id)}/")):
            try:
                yield from self._read(path)
            except CorruptState as error:
                log.warning("The next listing finds the objects of a batch that cannot be read: %s", error)

    def settle(self, run_id: str, *, now: datetime) -> None:
        """Note that a run has reported what it took; delete what is older than a week."""
        for path in list(self._files.names(f"{_TAKEN}{folder_name(run_id)}/")):
            self._move(path, _done_by(run_id) + path.rpartition("/")[2])
        for folder in (_DONE, _REFUSED):
            self._delete_before(folder, now - _KEPT)

    def since(self, moment: datetime) -> Iterator[AnnouncedLine]:
        """Yield what was announced since a moment, by all batches that are not damaged."""
        for folder in (_WAITING, _TAKEN, _DONE):
            for path in list(self._files.names(folder)):
                stamp = _stamp_of(path.rpartition("/")[2])
                if stamp is None or stamp < moment:
                    continue
                # A batch that has moved meanwhile is in the next folder.
                with suppress(CorruptState):
                    yield from self._read(path)

    def listed_at(self) -> datetime | None:
        """Return when the last run began that listed the bucket and has reported; None if that is not known."""
        return self._listed().get("began")

    def listed_before(self, began: datetime) -> datetime | None:
        """Return when the last such run before one that began at a time began; None if that is not known."""
        noted = self._listed()
        found = noted.get("previous" if noted.get("began") == began else "began")
        return found if found and found < began else None

    def listed_first(self) -> datetime | None:
        """Return when the first such run began, as far back as it is known; None if none has reported."""
        noted = self._listed()
        return min(noted.values(), default=None)

    def note_listing(self, began: datetime) -> None:
        """Note when a run began that listed the bucket and has reported; safe to repeat."""
        noted = {"began": began, "previous": self.listed_before(began), "first": self.listed_first() or began}
        values = {name: moment.isoformat() for name, moment in noted.items() if moment}
        with self._files.write(_LISTED) as out:
            out.write(json.dumps(with_version(values)).encode("ascii"))

    def _listed(self) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        with suppress(CorruptState, ValueError, AttributeError, TypeError):
            for name, text in json.loads(self._files.read(_LISTED)).items():
                if name in {"began", "previous", "first"} and (moment := datetime.fromisoformat(text)).tzinfo:
                    found[name] = moment
        return found

    def _write(self, folder: str, lines: Iterable[msgspec.Struct], now: datetime) -> str:
        content = _Bytes()
        writer = LinesWriter(content)
        for line in lines:
            writer.add(line)
        writer.end_member()
        name = f"{now.astimezone(UTC).strftime(_STAMP)}-{writer.sha256()}.jsonl.gz"
        with self._files.write(folder + name) as out:
            out.write(bytes(content.data))
        return name

    def _move(self, path: str, to: str) -> None:
        try:
            content = self._beginning(path)
        except CorruptState:
            # Another run has moved it.
            return
        with self._files.write(to) as out:
            out.write(content)
        self._files.delete(path)

    def _beginning(self, path: str) -> bytes:
        """Return a file's bytes, or the beginning of one that is longer than any batch.

        Raises:
            CorruptState: There is no such file.
        """
        content = bytearray()
        for chunk in self._files.chunks(path):
            content += chunk
            if len(content) > MAX_BATCH_BYTES:
                break
        return bytes(content)

    def _read(self, path: str) -> Iterator[AnnouncedLine]:
        """Yield the lines of a batch.

        Raises:
            CorruptState: It is not there, or it is not the file that its name tells of.
        """
        where = f"{self._files.location}/{path}"
        content = self._beginning(path)
        match = _NAME.fullmatch(path.rpartition("/")[2])
        if match is None or sha256(content).hexdigest() != match["sha256"]:
            raise CorruptState(path=where, detail="it is not the batch that its name tells of")
        yield from typed_lines(AnnouncedLine, [content], path=where)

    def _delete_before(self, folder: str, moment: datetime) -> None:
        stamps = ((_stamp_of(path.rpartition("/")[2]), path) for path in self._files.names(folder))
        old = (path for stamp, path in stamps if stamp is not None and stamp < moment)
        for path in list(islice(old, _MAX_DELETED_AT_ONCE)):
            self._files.delete(path)


def _done_by(run_id: str) -> str:
    """Return the folder of the batches that a run has reported; an earlier version had one for all runs."""
    return f"{_DONE}{folder_name(run_id)}/"


def _stamp_of(name: str) -> datetime | None:
    """Return the time in a batch's name; None if it is not such a name."""
    match = _NAME.fullmatch(name)
    with suppress(ValueError):
        return datetime.strptime(match["stamp"], _STAMP).replace(tzinfo=UTC) if match else None
    return None


class _Bytes:
    """A file in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        """Append the bytes."""
        self.data += data
