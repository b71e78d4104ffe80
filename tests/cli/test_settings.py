"""The options of a command as settings: each is read, and several processes share the limits."""

from datetime import UTC, datetime

import pytest

from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import USAGE_ERROR
from s3_to_azure.cli.settings import copy_settings, filters_from
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.settings import CopySettings, Fidelity

ADDRESSES = ("s3://bucket/d/", "az://container/")


def settings_of(*options: str) -> CopySettings:
    """Return the settings of a copy with these options."""
    return copy_settings(command_line().parse_args(["copy", *ADDRESSES, *options]))


def test_defaults_are_the_defaults_of_a_copy() -> None:
    """The command line and the operator copy alike."""
    assert settings_of() == CopySettings()
    assert filters_from(command_line().parse_args(["copy", *ADDRESSES])) == Filters()


def test_each_option_reaches_its_setting() -> None:
    """No option is read and forgotten."""
    given = settings_of(
        *("--overwrite", "never", "--integrity", "crc32", "--refused-names", "map", "--block-size", "2MiB"),
        *("--memory-budget", "64MiB", "--objects-at-once", "3", "--connections", "5", "--bandwidth-limit", "7MiB"),
        *("--archived", "restore", "--restore-days", "9", "--restore-tier", "Bulk", "--tags"),
        *("--tier", "STANDARD_IA=Cool", "--tier", "GLACIER=Archive", "--oversized-metadata", "drop"),
        *("--etag-is-md5", "no"),
    )
    assert given == CopySettings(
        overwrite="never",
        integrity="crc32",
        refused_names="map",
        block_bytes=2 * MIB,
        memory_budget_bytes=64 * MIB,
        objects_at_once=3,
        connections=5,
        bandwidth_bytes_s=7 * MIB,
        fidelity=Fidelity(
            archived="restore",
            restore_days=9,
            restore_tier="Bulk",
            tags=True,
            tiers={"STANDARD_IA": "Cool", "GLACIER": "Archive"},
            oversized_metadata="drop",
            etag_is_md5="no",
        ),
    )


def test_each_filter_option_reaches_its_filter() -> None:
    """Repeatable options are collected."""
    options = command_line().parse_args(
        [
            *("copy", *ADDRESSES, "--include", "*.csv", "--include", "*.json", "--exclude", "tmp*"),
            *("--min-size", "1KiB", "--max-size", "1MiB", "--storage-class", "STANDARD", "--storage-class", "GLACIER"),
            *("--modified-after", "2026-01-01T00:00:00+00:00", "--modified-before", "2026-02-01T00:00:00+00:00"),
        ]
    )
    assert filters_from(options) == Filters(
        include=("*.csv", "*.json"),
        exclude=("tmp*",),
        min_size_bytes=1024,
        max_size_bytes=MIB,
        storage_classes=["STANDARD", "GLACIER"],  # type: ignore[arg-type]
        modified_after=datetime(2026, 1, 1, tzinfo=UTC),
        modified_before=datetime(2026, 2, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--block-size", "x"], "--block-size='x'"),
        (["--memory-budget", "lots"], "--memory-budget='lots'"),
        (["--bandwidth-limit", "fast"], "--bandwidth-limit='fast'"),
        (["--tier", "Cool"], "--tier 'Cool' is not CLASS=TIER"),
        (["--tier", "STANDARD=Lukewarm"], "The access tier of STANDARD"),
        (["--objects-at-once", "0"], "objects_at_once"),
    ],
)
def test_wrong_value_names_its_option(options: list[str], says: str) -> None:
    """The sentence repeats what the user wrote."""
    with pytest.raises(UsageError) as raised:
        settings_of(*options)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["d/", "--processes", "0"], "--processes=0 is not between 1 and --objects-at-once=64"),
        (["d/", "--processes", "65"], "--processes=65 is not between 1 and --objects-at-once=64"),
        (["d/one", "--processes", "2"], "--processes shares all objects below a prefix"),
        (
            ["d/", "--processes", "2", "--keys-from", "-"],
            "--processes shares all objects below a prefix",
        ),
        (
            ["d/", "--processes", "2", "--bandwidth-limit", "1"],
            "--bandwidth-limit is less than 1 byte per second for each of 2",
        ),
        (
            ["d/", "--processes", "2", "--memory-budget", "1MiB"],
            "--memory-budget is less than 1 MiB for each of 2 processes",
        ),
    ],
)
def test_processes_need_something_to_share(options: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Limits or objects too few for that many processes are refused before the first request."""
    assert main(["copy", f"s3://bucket/{options[0]}", "az://container/", *options[1:]]) == USAGE_ERROR
    assert says in capsys.readouterr().err


def test_processes_share_all_limits() -> None:
    """Counts are rounded up, so that no process gets none; bytes are rounded down, so that the limit holds."""
    each = settings_of(
        *("--memory-budget", "100MiB", "--bandwidth-limit", "1001", "--objects-at-once", "9", "--connections", "5"),
        *("--processes", "2"),
    )
    assert (each.memory_budget_bytes, each.bandwidth_bytes_s) == (50 * MIB, 500)
    assert (each.objects_at_once, each.connections) == (5, 3)
