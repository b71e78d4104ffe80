"""The command ``compare``: whether both sides still agree, by their listings and records."""

import argparse
import csv
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from s3_to_azure.cli.certificate import opened, receipt_lines
from s3_to_azure.cli.output import FAILED, NOTHING_MATCHED, OK, print_message, print_text
from s3_to_azure.cli.settings import filters_from
from s3_to_azure.cli.stores import open_announced, open_stores
from s3_to_azure.model.errors import PermanentError, UsageError
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import CopySettings, Fidelity
from s3_to_azure.model.uris import parse_destination, parse_source
from s3_to_azure.transfer.watchdog import TASK_GRACE_S, StopEvent, run_stoppable

if TYPE_CHECKING:
    from s3_to_azure.runs.compare import Comparison
    from s3_to_azure.runs.standing import Difference, Sample
    from s3_to_azure.state.reported import ReportedReceipt

_MAX_SHOWN: Final = 100
_SEED_BITS: Final = 32
_WHOLE: Final = 100.0


def compare(options: argparse.Namespace, stop: StopEvent) -> int:
    """Compare both sides, and print how their objects stand."""
    # The commands of one object pay for the import of planning only here.
    from s3_to_azure.cli.copy_prefix import write_listing  # noqa: PLC0415
    from s3_to_azure.planning.settings import PlanSettings  # noqa: PLC0415
    from s3_to_azure.runs.compare import compare_listings  # noqa: PLC0415
    from s3_to_azure.stores.temporary_state import TemporaryState  # noqa: PLC0415

    source = parse_source(options.source, name="SRC")
    destination = parse_destination(options.destination, name="DST")
    if not source.is_prefix:
        raise UsageError(detail="A comparison is of many objects: SRC is a bucket or a prefix that ends in '/'.")
    planning = PlanSettings(
        s3_prefix=source.key,
        blob_prefix=destination.prefix,
        filters=filters_from(options),
        refused_names=options.refused_names,
    )
    settings = CopySettings(
        objects_at_once=options.objects_at_once,
        connections=1,
        refused_names=options.refused_names,
        fidelity=Fidelity(etag_is_md5=options.etag_is_md5),
    )
    sample = _sample(options)
    notes: list[str] = []
    with (
        open_stores(options, source, destination, settings, stop) as stores,
        _differences(options.csv) as differences,
        _earlier_receipts(options.receipts) as receipts,
        open_announced(options, stop, destination) as announced,
    ):

        def compare_all() -> "Comparison":
            with stores.transfer_context(settings, Progress(), stop) as context, TemporaryState() as files:
                context.check_access(source.bucket)
                with stores.completed(context, source, notes.append) as completed:
                    pointer = write_listing(context, source, files, None, completed)
                return compare_listings(
                    context,
                    files,
                    pointer,
                    planning,
                    receipts=receipts,
                    sample=sample,
                    announced=announced,
                    on_difference=differences.add,
                )

        result = run_stoppable(compare_all, stop, grace_s=TASK_GRACE_S)
    for note in notes:
        print_message(note)
    if options.json:
        shown = [asdict(each) for each in differences.shown]
        values = result.summary() | {"differences": shown, "more_differences": differences.more}
        print_text(json.dumps(values, ensure_ascii=False) + "\n", json=True)
    else:
        print_text("".join(f"{line}\n" for line in (*differences.lines(), *result.lines())))
    if result.has_drift:
        return FAILED
    return OK if result.is_of_any else NOTHING_MATCHED


def _sample(options: argparse.Namespace) -> "Sample":
    from s3_to_azure.runs.standing import Sample  # noqa: PLC0415

    if options.sample is None:
        if options.seed is not None:
            raise UsageError(detail="--seed chooses the sample: give --sample too, such as --sample 1%.")
        return Sample()
    text = options.sample.removesuffix("%")
    try:
        percent = float(text)
    except ValueError:
        percent = 0.0
    if text == options.sample or not 0 < percent <= _WHOLE:
        raise UsageError(detail=f"--sample={options.sample!r} is not a share above 0% and up to 100%, such as 1%.")
    seed = secrets.randbits(_SEED_BITS) if options.seed is None else options.seed
    return Sample(percent / _WHOLE, seed)


@contextmanager
def _earlier_receipts(path: str | None) -> Iterator[Iterator["ReportedReceipt"]]:
    """Yield the receipts of a file, in its order; none without a file."""
    if path is None:
        yield iter(())
        return
    with opened(path) as file:
        yield map(partial(_receipt, path=path), receipt_lines(file, path))


def _receipt(line: bytes, *, path: str) -> "ReportedReceipt":
    from s3_to_azure.state.reported import read_reported  # noqa: PLC0415

    receipt = read_reported(line)
    if receipt is None:
        raise PermanentError(detail=f"A line of {path!r} is not a receipt.")
    return receipt


class _Differences:
    """Writes all differences into the CSV file, and keeps the first ones that are drift.

    Attributes:
        shown: Those that are kept.
        more: Number of those that are drift and are not kept.
    """

    def __init__(self, out: TextIO | None) -> None:
        from s3_to_azure.runs.report_rows import safe_cell  # noqa: PLC0415
        from s3_to_azure.runs.standing import DRIFT, Difference  # noqa: PLC0415

        self._safe_cell = safe_cell
        self._drift = DRIFT
        self._columns = [each.name for each in fields(Difference)]
        self._csv = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL) if out else None
        if self._csv:
            self._csv.writerow(self._columns)
        self.shown: list[Difference] = []
        self.more = 0

    def add(self, difference: "Difference") -> None:
        if self._csv:
            self._csv.writerow([self._safe_cell(getattr(difference, column)) for column in self._columns])
        if difference.status not in self._drift:
            return
        if len(self.shown) < _MAX_SHOWN:
            self.shown.append(difference)
        else:
            self.more += 1

    def lines(self) -> Iterator[str]:
        """Yield the first ones for a person."""
        for each in self.shown:
            yield f"{each.status:9} {each.size_bytes:>16,}  {each.key or each.blob!r}: {each.reason}"
        if self.more:
            yield f"          and {self.more:,} more; --csv FILE has all of them"


@contextmanager
def _differences(path: str | None) -> Iterator[_Differences]:
    if path is None:
        yield _Differences(None)
        return
    try:
        # Half of a surrogate pair has no UTF-8.
        out = Path(path).open("w", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115 - only opening it is this error
    except OSError as error:
        raise UsageError(detail=f"The file {path!r} cannot be written: {error.strerror}.") from None
    with out:
        yield _Differences(out)
