"""The options of a command as settings: each is read, and several processes share the limits."""

from datetime import UTC, datetime

import pytest

from s3_to_azure.cli.arguments import command_line
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
