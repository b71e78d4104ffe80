"""Both sides of a comparison, generated: two listings with injected differences, and nothing that can be read."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

from s3_to_azure.model.names import check_blob
from s3_to_azure.model.objects import BlobState, ListedObject
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.compare import compare_listings
from s3_to_azure.runs.standing import Difference
from s3_to_azure.state.manifest import write_manifest
from s3_to_azure.stores.temporary_state import TemporaryState
from tests.fakes.contexts import record_of, transfer_context

# One object in so many differs, in one of these ways.
ONE_IN: Final = 50
KINDS: Final = ("missing", "extra", "stale", "changed", "unproven")
SETTINGS: Final = PlanSettings(s3_prefix="", blob_prefix="")

Listing = Callable[[], Iterator[ListedObject]]


class Nothing:
    """Refuses all requests but those that are defined."""

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse the request."""
        raise AssertionError(f"the comparison called {name}")


def kind_of(number: int) -> str:
    """Return how object ``number`` stands."""
    return KINDS[number // ONE_IN % len(KINDS)] if not number % ONE_IN else "equal"


class DriftingSource(Nothing):
    """Lists all objects but those whose blobs are extra."""

    def __init__(self, objects: Listing) -> None:
        self._objects = objects

    def list(self, _bucket: str, _prefix: str) -> Iterator[ListedObject]:
        """Yield the objects."""
        return (listed for number, listed in enumerate(self._objects()) if kind_of(number) != "extra")


class DriftingDestination(Nothing):
    """Lists a copy of each object, or what is left of it."""

    container = "benchmark"
    check_name = staticmethod(check_blob)

    def __init__(self, objects: Listing) -> None:
        self._objects = objects
        self.heads = 0

    def head(self, _blob: str) -> None:
        """Count the request; only what is missing is looked up."""
        self.heads += 1

    def list(self, _prefix: str) -> Iterator[BlobState]:
        """Yield the blobs."""
        for number, listed in enumerate(self._objects()):
            kind = kind_of(number)
            if kind == "missing":
                continue
            proof = {"s3_verified_by": "crc64nvme", "s3_checksum": "crc64nvme:AAAAAAAAAAA="}
            record = record_of(listed, **({} if kind == "unproven" else proof))
            if kind == "stale":
                record["s3_etag"] = "older"
            size_bytes = listed.size_bytes + (kind == "changed")
            yield BlobState(listed.key, f"0x8D{number:013X}", size_bytes, "BlockBlob", record)


def compare_drift(objects: Listing, bucket: str) -> dict[str, Any]:
    """Compare; return the counts, after each injected difference was found and nothing else."""
    source, destination = DriftingSource(objects), DriftingDestination(objects)
    found = Counter[str]()
    # What is missing is told a little later than what the listing shows, so each kind has its own order.
    expected = {kind: _keys(objects, kind) for kind in KINDS}

    def check(difference: Difference) -> None:
        key = difference.key or difference.blob
        assert key == next(expected[difference.status]), difference
        found[difference.status] += 1

    sides: Any = (source, destination)
    with transfer_context(*sides) as context, TemporaryState() as files:
        pointer = write_manifest(source.list(bucket, ""), files, bucket=bucket, prefix="")
        result = compare_listings(context, files, pointer, SETTINGS, on_difference=check)
    for kind, rest in expected.items():
        assert next(rest, None) is None, f"a difference was not found: {kind}"
    assert destination.heads == result.lookups == found["missing"]
    return {"objects": pointer.objects, **found, "lookups": result.lookups}


def _keys(objects: Listing, kind: str) -> Iterator[str]:
    return (listed.key for number, listed in enumerate(objects()) if kind_of(number) == kind)
