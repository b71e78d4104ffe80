"""The listing of a run as its sensor writes it: of the bucket, a list of keys or an inventory, and with checksums."""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from s3_to_azure.airflow.s3_hook import s3_source
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.model.uris import parse_inventory, parse_report
from s3_to_azure.planning.checksum_report import ChecksumReport, open_report
from s3_to_azure.planning.inventory import Inventory, is_there, open_inventory
from s3_to_azure.planning.key_list import keys_of, look_up, object_pieces
from s3_to_azure.state.manifest import ManifestPointer, write_manifest
from s3_to_azure.stores.s3.source import S3Source

LOOKUPS_AT_ONCE: Final = 16
"""HEAD requests at once while the keys of a list are looked up."""
_OF_ONE_OBJECT: Final = ("VersionId", "SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ListedPlace:
    """What is listed.

    Attributes:
        keys_from: The address of a list of keys, for errors; None: the bucket is listed.
        list_key: The list's key.
        is_there: Whether the list exists; one that does not counts as empty.
    """

    bucket: str
    prefix: str
    keys_from: str | None = None
    list_key: str | None = None
    is_there: bool = True


@dataclass(frozen=True, slots=True)
class ReportPlace:
    """Where a checksum report and an inventory are, and how S3 is reached.

    Attributes:
        address: ``s3://bucket/.../manifest.json`` of the checksum report; empty: there is none.
        arguments: Keyword arguments of ``S3Hook``.
        inventory: The address of the inventory; empty: there is none.
    """

    address: str
    aws_conn_id: str | None
    verify: bool | str | None
    arguments: Mapping[str, Any]
    inventory: str = ""

    @contextmanager
    def opened(self, retrier: Retrier, *, bucket: str, prefix: str) -> Iterator[ChecksumReport | None]:
        """Yield the report, and log what it had for the listing after the block; None if there is no report.

        Raises:
            UsageError: The report cannot be used.
        """
        if not self.address:
            yield None
            return
        at = parse_report(self.address, name="checksums_from")
        with self._source() as source, open_report(at, source, retrier, bucket=bucket, prefix=prefix) as report:
            yield report
        log.info("%s", report.text())

    @contextmanager
    def inventoried(self, retrier: Retrier, *, bucket: str, prefix: str) -> Iterator[Inventory | None]:
        """Yield the inventory, and log what it had for the listing after the block; None if there is none.

        Raises:
            UsageError: The inventory cannot be used.
        """
        if not self.inventory:
            yield None
            return
        at = parse_inventory(self.inventory, name="inventory")
        with self._source() as source, open_inventory(at, source, retrier, bucket=bucket, prefix=prefix) as inventory:
            yield inventory
        log.info("%s", inventory.text())

    def has_inventory(self, retrier: Retrier) -> bool:
        """Return whether S3 has finished the inventory."""
        with self._source() as source:
            return is_there(parse_inventory(self.inventory, name="inventory"), source, retrier)

    @contextmanager
    def _source(self) -> Iterator[S3Source]:
        # What reads the objects, such as their own key, does not read the reports.
        extra = {
            name: value
            for name, value in (self.arguments.get("extra_args") or {}).items()
            if name not in _OF_ONE_OBJECT
        }
        arguments = {**self.arguments, "extra_args": extra}
        source = s3_source(
            self.aws_conn_id, connections=1, verify=self.verify, hook_arguments=arguments, worked_before=True
        )
        with closing(source):
            yield source


def listed_objects(source: S3Source, place: ListedPlace, retrier: Retrier) -> Iterator[ListedObject]:
    """Yield all objects below the prefix, or those of the list of keys."""
    if place.list_key is None:
        return source.list(place.bucket, place.prefix)
    pieces = object_pieces(source, retrier, bucket=place.bucket, key=place.list_key) if place.is_there else ()
    keys = keys_of(pieces, name=str(place.keys_from), prefix=place.prefix)
    return look_up(keys, source, retrier, bucket=place.bucket, at_once=LOOKUPS_AT_ONCE)


def write_listing(
    source: S3Source, place: ListedPlace, report: ReportPlace, files: StateFiles, stop: threading.Event
) -> ManifestPointer:
    """Write the listing to the run's state files; return the pointer."""
    retrier = Retrier(RetryBudget(), stop)
    with (
        report.opened(retrier, bucket=place.bucket, prefix=place.prefix) as found,
        report.inventoried(retrier, bucket=place.bucket, prefix=place.prefix) as inventory,
    ):
        objects: Iterable[ListedObject] = inventory.objects() if inventory else listed_objects(source, place, retrier)
        return write_manifest(
            objects,
            files,
            bucket=place.bucket,
            prefix=place.prefix,
            retrier=retrier,
            completed=found.complete if found else None,
            looked_up=place.list_key is not None,
            inventoried_at=inventory.made_at if inventory else None,
        )
