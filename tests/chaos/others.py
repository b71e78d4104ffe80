"""Everybody else: who writes the objects in S3, and who writes, edits and deletes blobs in the container."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

from s3_to_azure.model.limits import MIB
from tests.chaos.promises import Migration
from tests.chaos.world import BlobImage, World

SIZES: Final = (0, 1, 100, 5_000, 100_000, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB, 4 * MIB + 7)


class Stranger:
    """Another tool, or a person, who writes into the container."""

    name = "a stranger"

    def origin_of(self, blob: str) -> tuple[str, str] | None:
        """Return None: these bytes come from elsewhere."""
        return None

    def wrote(self, blob: str, before: BlobImage, after: BlobImage) -> None:
        """Let it be."""


class Others:
    """Whoever changes S3 and Azure beside the runs.

    Args:
        world: The stores.
        keys: The keys that each migration is about.
        dice: Decide on everything.
        hostile: Somebody else writes into the container, too.
        checksums: For how many objects S3 stores a checksum, from 0 to 1.
    """

    def __init__(
        self,
        world: World,
        keys: Mapping[Migration, Sequence[str]],
        dice: Random,
        *,
        hostile: bool,
        checksums: float,
    ) -> None:
        self._checksums = checksums
        self._world = world
        self._keys = keys
        self._dice = dice
        self._hostile = hostile
        self._stranger = Stranger()

    def fill(self) -> None:
        """Put the first objects, and what others have in the container."""
        for migration, keys in self._keys.items():
            for key in keys:
                if self._dice.random() < 0.8:
                    self._put(migration.bucket, key)
        for blob in ("elsewhere/report", "in", "in/sub/foreign", "out/foreign", "_s3_to_azure/daily/run/plan.json"):
            if self._dice.random() < 0.5:
                self._stranger_writes(blob)

    def _put(self, bucket: str, key: str, data: bytes | None = None) -> None:
        dice, versions = self._dice, self._world.versions(bucket, key)
        if data is None:
            size = dice.choice(SIZES) if dice.random() < 0.7 else dice.randint(1, 9_999)
            data = dice.randbytes(0 if key.endswith("/") and dice.random() < 0.5 else size)
        # Blocks stay staged under their ETag: whether damage can be found must not change with time.
        has_checksum = int.from_bytes(data[:1]) < 256 * self._checksums
        checksum = dice.choice(["crc64nvme", "crc64nvme", "crc32c", "crc32"]) if has_checksum else None
        parts: tuple[int, ...] = ()
        if len(data) > MIB and has_checksum and dice.random() < 0.3:
            part = dice.choice([MIB, MIB + 5, 2 * MIB])
            parts = tuple(min(part, len(data) - start) for start in range(0, len(data), part))
            checksum = dice.choice(["crc32c", "crc32", "md5"]) if len(parts) > 1 else checksum
            parts = parts if len(parts) > 1 else ()
        metadata = {"colour": dice.choice(["red", "blue"])} if dice.random() < 0.3 else {}
        if dice.random() < 0.1:
            metadata |= {
                "s3_etag": "0" * 32,
                "S3_Verified_By": "x" * 300,
                "s3_source": "0" * 32,
                "hdi_isfolder": "true",
            }
        same_second = versions[-1].object.last_modified if versions and dice.random() < 0.1 else None
        self._world.put(bucket, key, data, checksum=checksum, parts=parts, metadata=metadata, last_modified=same_second)

    # -- what others do --------------------------------------------------------------------------------------------

    def act(self) -> None:
        """Let something happen in S3, or in Azure by another hand."""
        migration, key = self._choose()
        if self._dice.random() < 0.6 or not self._hostile:
            self._change_object(migration.bucket, key)
        else:
            self._change_blob(migration.blob_of(key))

    def _choose(self) -> tuple[Migration, str]:
        """Choose an object, often the one that is being copied."""
        last = self._world.last_read
        if last and self._dice.random() < 0.5:
            for migration, keys in self._keys.items():
                if migration.bucket == last[0] and last[1] in keys:
                    return migration, last[1]
        migration = self._dice.choice(list(self._keys))
        return migration, self._dice.choice(self._keys[migration])

    def _change_object(self, bucket: str, key: str) -> None:
        dice, versions = self._dice, self._world.versions(bucket, key)
        is_there = key in self._world.current(bucket)
        kind = dice.choice(["put", "same size", "same size", "delete", "same bytes", "back", "back in time"])
        if kind == "delete" and is_there:
            self._world.delete(bucket, key)
        elif kind == "same bytes" and is_there:
            self._put(bucket, key, versions[-1].data)
        elif kind == "same size" and is_there:
            self._put(bucket, key, dice.randbytes(len(versions[-1].data)))
        elif kind == "back" and versions:
            self._put(bucket, key, dice.choice(versions).data)
        elif kind == "back in time" and len(versions) > 1:
            self._world.put_again(dice.choice(versions))
        else:
            self._put(bucket, key)

    def _change_blob(self, blob: str) -> None:
        dice, real = self._dice, self._world.destination
        held = real.blobs.get(blob)
        self._world.disturb(blob)
        kind = dice.choice(["write", "delete", "edit", "edit", "stage", "expire", "lease", "beside"])
        if kind == "write":
            self._stranger_writes(blob)
        elif kind == "delete" and held:
            self._change(blob, lambda: real.blobs.pop(blob))
        elif kind == "edit" and held:
            self._edit(blob)
        elif kind == "stage":
            # Blocks of another tool; most tools' ids have another length than ours, and Azure refuses a mixture then.
            length = 26 if dice.random() < 0.8 else 8
            real.stage_foreign(blob, dice.randbytes(length).hex().encode(), dice.randbytes(50))
        elif kind == "expire":
            real.staged.pop(blob, None)
        elif kind == "lease":
            real.leased ^= {blob}
        else:
            self._stranger_writes(f"{blob}.txt")

    def _stranger_writes(self, blob: str) -> None:
        data = self._dice.randbytes(self._dice.randint(0, 300))
        self._change(blob, lambda: self._world.destination.write(blob, data, metadata={"owner": "somebody"}))

    def _edit(self, blob: str) -> None:
        def edit() -> None:
            held = self._world.destination.blobs[blob]
            edits: list[dict[str, str | None]] = [
                {"owner": "somebody"},
                {"s3_verified_by": "by hand"},
                {"s3_verified_by": "x" * 3_000},
                {"s3_verified_by": None, "s3_checksum": None},
                {"s3_verified_by": "crc64nvme", "s3_checksum": "crc32c:AAAAAA=="},
                {"s3_checksum": "x" * 3_000},
                {"s3_source": "somebody's"},
                {"s3_source": None},
                {"s3_etag": None},
                {"s3_etag": "f" * 32},
                {"s3_last_modified": "yesterday"},
            ]
            changes = self._dice.choice(edits)
            if held.metadata.get("s3_verified_by") in ("damaged", "readback_pending"):
                # Whoever takes such a mark away hides the damage from later runs, as docs/reliability.md says.
                changes = {name: value for name, value in changes.items() if name != "s3_verified_by"}
            metadata = {name: value for name, value in held.metadata.items() if name not in changes}
            held.metadata = metadata | {name: value for name, value in changes.items() if value is not None}
            held.etag = self._world.destination._new_etag()

        self._change(blob, edit)

    def _change(self, blob: str, change: Callable[[], object]) -> None:
        self._world.change(self._stranger, blob, change)
