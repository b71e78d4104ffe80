"""The promises of docs/design.md, checked against the record of what really happened.

``WriteCheck`` judges each change of a blob by a copy at the moment of the change. ``check_report`` judges a run by its
report. What they compare with is the record in ``World``, and the rules for a user: neither asks the engine.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from gzip import decompress
from typing import Any, Final

from s3_to_azure.model import checksums
from s3_to_azure.model.names import REPORT_NAME, REPORT_RECEIPTS_NAME
from s3_to_azure.model.objects import ObjectVersion
from s3_to_azure.model.options import ALWAYS, NEVER, READBACK, VERIFICATION_LEVELS
from s3_to_azure.planning.settings import PlanSettings
from tests.chaos.world import BlobImage, Version, World
from tests.fakes.state_memory import MemoryState

FINAL: Final = ("copied", "unchanged", "skipped", "failed")


@dataclass(frozen=True, slots=True)
class Migration:
    """What a user has set up: from where to where."""

    name: str
    bucket: str
    s3_prefix: str
    blob_prefix: str

    def blob_of(self, key: str, *, mapped: bool = False) -> str:
        """Return the blob of a key."""
        name = self.blob_prefix + key[len(self.s3_prefix) :]
        return escaped(name) if mapped else name


def escaped(name: str) -> str:
    """Return a blob's name with what Azure refuses written as docs/reference says: ``~XX``."""
    text = ""
    for at, character in enumerate(name):
        following = name[at + 1 : at + 2]
        ends_segment = character == "." and following in ("", "/")
        ends_name = character == "/" and at and not following
        looks_escaped = character == "~" and all(c in "0123456789ABCDEF" for c in name[at + 1 : at + 3].ljust(2, "-"))
        control = ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0
        refused = character == "\\" or control or ends_segment or ends_name or looks_escaped
        text += f"~{ord(character):02X}" if refused else character
    return text


@dataclass
class Run:
    """One run of a migration, and what is known of it from outside.

    Attributes:
        listing: The ticks at which the listing that counts began and ended.
        planning: The same of the plan.
        joined: Whether the plan knows the state of every blob.
        tasks_succeeded: Whether the last try of each copy task succeeded.
    """

    migration: Migration
    name: str
    settings: PlanSettings
    files: MemoryState = field(default_factory=MemoryState)
    keys: tuple[str, ...] | None = None
    listing: tuple[int, int] = (0, 0)
    planning: tuple[int, int] = (0, 0)
    joined: bool = True
    plan_failures: int = 0
    tasks_succeeded: bool = False

    def passes(self, key: str) -> str | None:
        """Return why the filters leave a key out; None if they do not."""
        filters = self.settings.filters
        if filters.include and not any(fnmatchcase(key, pattern) for pattern in filters.include):
            return "not_included"
        if any(fnmatchcase(key, pattern) for pattern in filters.exclude):
            return "excluded"
        return None

    def blob_of(self, key: str) -> str:
        """Return the blob of a key."""
        return self.migration.blob_of(key, mapped=self.settings.refused_names == "map")


class WriteCheck:
    """Judges the writes of one try of a copy task.

    Args:
        world: The record.
        run: The run of the task.
        name: Of the try.
        decided_at: The tick at which the plan of the task was complete: what came later may not be replaced.
    """

    def __init__(self, world: World, run: Run, name: str, decided_at: int) -> None:
        self._world = world
        self._run = run
        self.decided_at = decided_at
        self._name = name

    def key_of(self, blob: str) -> str | None:
        """Return the key whose copy the blob is in this run; None: the blob is none of the run's."""
        run = self._run
        for bucket, key in list(self._world._versions):
            below = bucket == run.migration.bucket and key.startswith(run.migration.s3_prefix)
            if below and run.passes(key) is None and run.blob_of(key) == blob:
                return key
        return None

    def may_write(self, blob: str) -> None:
        """Check that the blob is one of the run's."""
        if self.key_of(blob) is None or blob.startswith("_s3_to_azure/"):
            self._broken(f"wrote to {blob!r}, which is no copy of an object of the run")

    def check(self, blob: str, before: BlobImage, after: BlobImage) -> None:
        """Check one change."""
        key = self.key_of(blob)
        if key is None:
            return
        if after.etag is None:
            self._broken(f"deleted {blob!r}")
            return
        bucket = self._run.migration.bucket
        etag = after.metadata.get("s3_etag")
        versions = self._world.versions(bucket, key, etag)
        if not versions:
            self._broken(f"made {blob!r} a copy of {etag!r}, which S3 never held as {key!r}")
            return
        if after.data != versions[0].data and not after.damaged:
            self._broken(f"wrote bytes to {blob!r} that are not those of {etag!r}")
        true_checksums = checksums_of(versions)
        recorded = [version for version in versions if _is_recorded(version.object, after, true_checksums)]
        if not recorded:
            self._broken(f"recorded with {blob!r} what no version of it had: {dict(after.metadata)}")
        self._check_replaced(blob, key, before, recorded or versions, is_copy=after.data is not before.data)

    def _check_replaced(
        self, blob: str, key: str, before: BlobImage, versions: list[Version], *, is_copy: bool
    ) -> None:
        if before.etag is None:
            return
        is_own = before.origin == (self._run.migration.bucket, key)
        # Whatever somebody has made of the mark of a damaged blob, the receipts still know.
        is_finished = not before.damaged and before.metadata.get("s3_verified_by") != "readback_pending"
        if self._run.settings.overwrite == NEVER and (is_finished or not is_own):
            self._broken(f"replaced {blob!r} with overwrite=never")
        if is_own:
            if is_copy and not before.damaged and not any(version.lived(before.bytes_since) for version in versions):
                self._broken(f"replaced a copy of {blob!r} by a version that S3 did not hold any more")
        elif before.since > self.decided_at and self._run.joined:
            self._broken(f"replaced {blob!r}, which {before.by} had written after the plan")
        elif before.origin is not None and self._run.settings.overwrite != ALWAYS and _names_its_source(before):
            self._broken(f"replaced {blob!r}, which is the copy of {before.origin}")

    def _broken(self, text: str) -> None:
        self._world.break_promise(f"{self._name} {text}")


def _is_recorded(version: ObjectVersion, image: BlobImage, true_checksums: set[str]) -> bool:
    """Return whether the blob's metadata are those of the version: the date, the checksum, the user's own."""
    metadata = image.metadata
    if metadata.get("s3_last_modified") != version.last_modified.isoformat():
        return False
    if metadata.get("s3_checksum", "") not in {"", *true_checksums}:
        return False
    return all(metadata.get(_name_in_azure(name)) == value for name, value in version.metadata.items())


def _names_its_source(image: BlobImage) -> bool:
    """Return whether the blob still says whose copy it is; nobody can tell once somebody has edited that out."""
    return len(image.metadata.get("s3_source", "")) == 32


def _name_in_azure(name: str) -> str:
    """Return how Azure names user metadata: names with a meaning there are escaped, and all are lower case here."""
    has_meaning = name.lower() in ("s3_etag", "s3_verified_by", "s3_source", "hdi_isfolder")
    return f"_x{ord(name[0]):04x}_{name[1:]}".lower() if has_meaning else name


def checksums_of(versions: list[Version]) -> set[str]:
    """Return every checksum that S3 ever stored for these versions, as receipts show them."""
    found = {checksum for version in versions for checksum in (version.object.checksum, *version.object.weaker)}
    return {f"{checksum.algorithm}:{checksums.to_s3(checksum)}" for checksum in found if checksum}


# -- the report ----------------------------------------------------------------------------------------------------


def rows_of(files: MemoryState) -> list[dict[str, Any]]:
    """Return the rows of a run's report."""
    return [json.loads(line) for line in decompress(files.files[REPORT_RECEIPTS_NAME]).splitlines()]


def summary_of(files: MemoryState) -> dict[str, Any]:
    """Return the totals of a run's report."""
    return dict(json.loads(files.files[REPORT_NAME]))


class ReportCheck:
    """Judges a run by its report.

    Args:
        world: The record.
        run: The run.
        rows: A receipt for each object.
        green: Whether the run tells the user that all is well.
        ended_at: The tick of its end.
    """

    def __init__(
        self,
        world: World,
        run: Run,
        rows: list[dict[str, Any]],
        *,
        green: bool,
        ended_at: int,
    ) -> None:
        self._world = world
        self._run = run
        self._rows = rows
        self._green = green
        self._ended_at = ended_at

    def check(self) -> None:
        """Check the promises; what is broken is noted in the world."""
        # After a second listing without a new plan, the report has what was planned and what was listed later.
        twice = [key for key, count in Counter((row["key"], row["etag"]) for row in self._rows).items() if count > 1]
        if twice:
            self._broken(f"there are several rows of {twice}")
        self._check_listing()
        for row in self._rows:
            self._check_row(row)
        failed = [(row["key"], row["reason"]) for row in self._rows if row["status"] == "failed"]
        if self._green == bool(failed):
            self._broken(f"the run is {'green' if self._green else 'red'}, and these failed: {failed}")
        since = self._run.planning[0]
        undisturbed = [
            (key, reason)
            for key, reason in failed
            if not self._world.was_disturbed(self._run.blob_of(key), since)
            and not (reason.startswith("not_committed") and self._was_put_again(key, since))
        ]
        if self._run.tasks_succeeded and len(undisturbed) > self._run.plan_failures:
            self._broken(f"every task succeeded, and the report is red: {undisturbed}")

    def _was_put_again(self, key: str, since: int) -> bool:
        """Return whether S3 got the object again meanwhile: blocks of an object with another checksum do not fit."""
        return any(version.since > since for version in self._world.versions(self._run.migration.bucket, key))

    def _since_plan(self) -> tuple[int, int]:
        return self._run.planning[0], self._ended_at

    def check_summary(self, summary: Mapping[str, Any]) -> None:
        """Check that the totals of the report are those of its rows."""
        counts = Counter(row["status"] for row in self._rows)
        told = {status: summary[status]["objects"] for status in FINAL}
        if told != {status: counts[status] for status in FINAL} or summary["listed"]["objects"] != len(self._rows):
            self._broken(f"the report counts {told}, and its rows are {dict(counts)}")

    def _check_listing(self) -> None:
        """Check that every object that was there while the bucket was listed has a row, with a version of that time."""
        start, end = self._run.listing
        keys = {row["key"] for row in self._rows}
        for key, versions in self._versions_below_prefix():
            if any(version.since < start and version.until > end for version in versions) and key not in keys:
                self._broken(f"{key!r} was there all the time, and is not in the report")

    def _versions_below_prefix(self) -> Iterator[tuple[str, list[Version]]]:
        migration = self._run.migration
        for (bucket, key), versions in list(self._world._versions.items()):
            is_below = bucket == migration.bucket and key.startswith(migration.s3_prefix)
            if is_below and (self._run.keys is None or key in self._run.keys):
                yield key, versions

    def _check_row(self, row: Mapping[str, Any]) -> None:
        key, status = row["key"], row["status"]
        if status not in FINAL:
            self._broken(f"{key!r} is {status}, which is no end")
        if row["blob"] and row["blob"] != self._run.blob_of(key):
            self._broken(f"the row of {key!r} names the blob {row['blob']!r}")
        if status in ("copied", "unchanged"):
            self._check_copy(row)
        elif status == "skipped":
            self._check_skipped(key, row["reason"])

    def _check_copy(self, row: Mapping[str, Any]) -> None:
        key, etag = row["key"], row["etag"]
        start = self._run.listing[0]
        versions = [
            version for version in self._world.versions(self._run.migration.bucket, key, etag) if version.lived(start)
        ]
        told = f"{key!r} is {row['status']} ({row['reason']})"
        if not versions:
            self._broken(f"{told} as {etag!r}, which S3 did not hold then or later")
            return
        data = versions[0].data
        images = list(self._world.images(row["blob"], *self._since_plan()))
        if not any(image.etag and image.data == data and not image.damaged for image in images):
            self._broken(f"{told}, and blob {row['blob']!r} never held it: {[image.etag for image in images]}")
        elif images[-1].damaged and self._is_own_damage(images[-1], row["blob"]):
            self._broken(f"{told}, and {images[-1].by} replaced blob {row['blob']!r} by damaged bytes")
        if row["size_bytes"] != len(data):
            self._broken(f"{told} with {row['size_bytes']} bytes, and has {len(data)}")
        self._check_proof(told, row)

    def _is_own_damage(self, image: BlobImage, blob: str) -> bool:
        """Return whether a try of this run damaged a blob that nobody else has touched since the plan."""
        is_disturbed = self._world.was_disturbed(blob, self._run.planning[0])
        return image.by.startswith(f"{self._run.name}.") and not is_disturbed

    def _check_proof(self, told: str, row: Mapping[str, Any]) -> None:
        proof = row["verified_by"].removesuffix("+readback")
        wanted = self._run.settings.integrity
        if proof and proof not in VERIFICATION_LEVELS:
            self._broken(f"{told}, verified by {proof!r}")
            return
        is_level = wanted in VERIFICATION_LEVELS and wanted != "reread"
        if is_level and (not proof or VERIFICATION_LEVELS.index(proof) > VERIFICATION_LEVELS.index(wanted)):
            self._broken(f"{told}, verified by {proof!r}, and {wanted} is required")
        # The same bytes may have been stored before with another checksum, which the blob's metadata still record.
        offered = checksums_of(self._world.versions(self._run.migration.bucket, row["key"], row["etag"]))
        if row["checksum"] and row["checksum"] not in offered:
            self._broken(f"{told} with checksum {row['checksum']}, which S3 did not store: {offered}")
        if proof not in ("", "transport", "reread") and not row["checksum"]:
            self._broken(f"{told} by {proof!r}, and no checksum is named")
        is_checked = not row["reason"] and wanted == READBACK
        if row["status"] == "copied" and is_checked and not _read_back(row):
            self._broken(f"{told}, and was not read back")

    def _check_skipped(self, key: str, reason: str) -> None:
        run = self._run
        versions = self._world.versions(run.migration.bucket, key)
        sizes = [len(version.data) for version in versions if version.lived(*run.listing)]
        filters = run.settings.filters
        rightly = {
            # There was a time during the run when S3 did not hold the key.
            "source_deleted": lambda: (
                not any(version.since <= run.listing[0] and version.until >= self._ended_at for version in versions)
            ),
            "destination_exists": lambda: run.settings.overwrite == NEVER,
            "not_included": lambda: run.passes(key) == "not_included",
            "excluded": lambda: run.passes(key) == "excluded",
            "too_small": lambda: min(sizes) < (filters.min_size_bytes or 0),
            "too_large": lambda: max(sizes) > (filters.max_size_bytes or math.inf),
            "folder_marker": lambda: key.endswith("/") and not all(version.data for version in versions),
            "name_refused": lambda: run.settings.refused_names == "skip",
            "reserved_name": lambda: run.blob_of(key).startswith("_s3_to_azure/"),
        }.get(reason.partition(":")[0])
        if rightly is None or not rightly():
            self._broken(f"{key!r} is skipped: {reason}")

    def _broken(self, text: str) -> None:
        self._world.break_promise(f"report of {self._run.name}: {text}")


def _read_back(row: Mapping[str, Any]) -> bool:
    return bool(row["verified_by"].endswith("+readback"))
