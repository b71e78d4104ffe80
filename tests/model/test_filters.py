"""Filters: each rule at its boundary, and values that are refused."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.filters import MOMENT_PATTERN, Filters, moment, read_filters
from s3_to_azure.model.objects import ListedObject

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def listed(key: str = "logs/2026/a.gz", *, size_bytes: int = 100, modified: datetime = NOON) -> ListedObject:
    """Return an object as a listing shows it."""
    return ListedObject("bucket", key, "etag", size_bytes, modified, "STANDARD_IA")


@pytest.mark.parametrize(
    ("rule", "passes", "reason"),
    [
        ({"include": ["*.gz"]}, True, "not_included"),
        ({"include": ["*.GZ"]}, False, "not_included"),
        ({"include": ["a.gz"]}, False, "not_included"),
        ({"include": ["x", "logs/????/*"]}, True, "not_included"),
        ({"include": ["logs/[!3]*"]}, True, "not_included"),
        ({"exclude": ["*.gz"]}, False, "excluded"),
        ({"include": ["*"], "exclude": ["logs/*"]}, False, "excluded"),
        ({"exclude": ["logs"]}, True, "excluded"),
        ({"min_size_bytes": 100}, True, "too_small"),
        ({"min_size_bytes": 101}, False, "too_small"),
        ({"max_size_bytes": 100}, True, "too_large"),
        ({"max_size_bytes": 99}, False, "too_large"),
        ({"max_size_bytes": 0}, False, "too_large"),
        ({"modified_after": NOON - SECOND}, True, "too_old"),
        ({"modified_after": NOON}, False, "too_old"),
        ({"modified_before": NOON + SECOND}, True, "too_new"),
        ({"modified_before": NOON}, False, "too_new"),
        ({"storage_classes": ["STANDARD", "STANDARD_IA"]}, True, "storage_class_excluded"),
        ({"storage_classes": ["STANDARD"]}, False, "storage_class_excluded"),
    ],
)
def test_each_rule_passes_an_object_or_names_its_reason(rule: dict[str, Any], passes: bool, reason: str) -> None:
    """An object passes a rule, or is left out for that rule's reason."""
    assert Filters(**rule).reason_to_skip(listed()) == (None if passes else reason)


def test_without_rules_every_object_passes() -> None:
    """No object is left out."""
    assert Filters().reason_to_skip(listed("", size_bytes=0)) is None


@pytest.mark.parametrize(
    "rule",
    [
        {"include": "*.gz"},
        {"exclude": [""]},
        {"exclude": [1]},
        {"storage_classes": None},
        {"min_size_bytes": -1},
        {"max_size_bytes": True},
        {"max_size_bytes": "1"},
        {"modified_after": datetime(2026, 3, 1)},  # noqa: DTZ001 - that is the fault
    ],
)
def test_invalid_rules_are_refused(rule: dict[str, Any]) -> None:
    """A text instead of a list, a negative size or a time without a time zone."""
    with pytest.raises(UsageError):
        Filters(**rule)


def test_filters_are_read_from_texts() -> None:
    """Sizes have units and timestamps a time zone; empty texts, as a template may leave them, do not filter."""
    texts = {"min_size": "1KiB", "max_size": 2048, "modified_after": "2026-03-01T13:00:00+01:00", "modified_before": ""}
    assert read_filters(texts | {"storage_classes": ["STANDARD"]}, include=["*.gz"], exclude=None) == Filters(
        include=("*.gz",),
        min_size_bytes=1_024,
        max_size_bytes=2_048,
        modified_after=NOON,
        storage_classes=("STANDARD",),
    )
    assert read_filters({}) == Filters()
    assert read_filters({}, exclude=["*.tmp"]) == Filters(exclude=("*.tmp",))


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"min_size": "big"}, "min_size='big' is not a size"),
        ({"modified_after": "yesterday"}, "modified_after='yesterday' is not an ISO 8601 timestamp"),
        ({"modified_before": "2026-03-01"}, "no time zone"),
        ({"storage_classes": "STANDARD"}, "not a list"),
        ({"smallest": 1}, "not among min_size"),
        ({"min_siz": 1}, "Did you mean min_size or max_size"),
    ],
)
def test_a_wrong_filter_is_named_in_the_error(texts: dict[str, Any], says: str) -> None:
    """A text that cannot be parsed, and a filter that does not exist, are usage errors that name the filter."""
    with pytest.raises(UsageError, match=says):
        read_filters(texts)


def test_a_key_must_match_both_lists_of_patterns() -> None:
    """Those of a run narrow those of the migration."""
    filters = Filters(include=("2026/*",), within=("*.csv", "*.tsv"))
    keys = ("2026/a.csv", "2025/a.csv", "2026/a.key", "2026/a.tsv")
    assert [filters.reason_to_skip_key(key) for key in keys] == [None, "not_included", "not_included", None]


@pytest.mark.parametrize(
    "texts",
    [
        {"min_size": "2KiB", "max_size": "1KiB"},
        {"modified_after": "2026-01-02T00:00:00Z", "modified_before": "2026-01-01T00:00:00Z"},
        {"modified_after": "2026-01-01T00:00:00Z", "modified_before": "2026-01-01T00:00:00Z"},
    ],
)
def test_a_range_that_holds_nothing_is_refused(texts: dict[str, str]) -> None:
    """A run would succeed every night, and copy nothing."""
    with pytest.raises(UsageError, match="no object would be copied"):
        read_filters(texts)


def test_one_size_is_a_range() -> None:
    """Both ends belong to it."""
    assert read_filters({"min_size": "1KiB", "max_size": "1KiB"}).min_size_bytes == 1024


NOW = datetime(2026, 3, 1, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", "2026-02-28T06:30:00+00:00"),
        ("7d", "2026-02-22T06:30:00+00:00"),
        ("90m", "2026-03-01T05:00:00+00:00"),
        ("1w", "2026-02-22T06:30:00+00:00"),
        ("30s", "2026-03-01T06:29:30+00:00"),
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31T06:00:00+01:00", "2026-01-31T06:00:00+01:00"),
        (" 24h ", "2026-02-28T06:30:00+00:00"),
        ("yesterday", "yesterday"),
        ("", None),
        (None, None),
    ],
)
def test_moment(text: str | None, expected: str | None) -> None:
    """An age counts back from now, a date begins in UTC, and what is neither is left to be refused."""
    assert moment(text, name="--modified-after", now=NOW) == expected


@pytest.mark.parametrize("text", ["2026-02-30", "2026-13-01", "0000-01-01", "999999w"])
def test_moment_that_does_not_exist(text: str) -> None:
    """The error names the option."""
    with pytest.raises(UsageError, match=f"--modified-after '{text}' is not a date, nor an age such as 24h"):
        moment(text, name="--modified-after", now=NOW)


@given(st.text(max_size=12))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    """No text is a surprise."""
    with suppress(UsageError):
        assert moment(text, name="--modified-after", now=NOW) != ""


@given(st.one_of(st.from_regex(MOMENT_PATTERN, fullmatch=True), st.text(max_size=12)))
def test_what_the_pattern_accepts_can_be_read(text: str) -> None:
    """All but days that no month has, and ages beyond the first year."""
    if not re.search(MOMENT_PATTERN, text):
        return
    with suppress(UsageError):
        read = moment(text, name="modified_after", now=NOW)
        assert read_filters({"modified_after": read}).modified_after


def test_ages_and_dates_are_read() -> None:
    """In the DAG's filters and a run's Params as on the command line."""
    read = read_filters({"modified_after": "24h", "modified_before": "2026-03-01T06:00:00Z"}, now=NOW)
    assert read.modified_after == datetime(2026, 2, 28, 6, 30, tzinfo=UTC)
    assert read.modified_before == datetime(2026, 3, 1, 6, tzinfo=UTC)


def test_filters_are_narrowed_and_never_widened() -> None:
    """The larger minimum and the smaller maximum hold, whoever has set them."""
    own = Filters(min_size_bytes=5, modified_before=NOW, include=("a*",))
    wider = own.narrowed(Filters(min_size_bytes=1, max_size_bytes=9, modified_before=NOW + timedelta(days=1)))
    assert wider == Filters(min_size_bytes=5, max_size_bytes=9, modified_before=NOW, include=("a*",))
    assert own.narrowed(Filters(min_size_bytes=7)).min_size_bytes == 7
    assert own.narrowed(Filters()) == own
    with pytest.raises(UsageError, match="min_size is above max_size"):
        own.narrowed(Filters(max_size_bytes=4))
