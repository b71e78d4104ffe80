"""The texts that people type: choices, moments, and files of patterns."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.cli.values import choice, filter_file, moment
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.options import OVERWRITE, RESTORE_TIERS

NOW = datetime(2026, 3, 1, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["if_changed", "if-changed", "If-Changed", "IF_CHANGED"])
def test_choice_may_have_hyphens_and_capitals(text: str) -> None:
    """The value is the one that the settings know."""
    assert choice(OVERWRITE)(text) == "if_changed"


def test_choice_keeps_the_case_of_its_value_and_leaves_others_to_be_refused() -> None:
    """Azure's and S3's own words have capitals."""
    assert choice(RESTORE_TIERS)("expedited") == "Expedited"
    assert choice(OVERWRITE)("some-times") == "some-times"


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


def test_filter_file(tmp_path: Path) -> None:
    """A pattern is the rest of its line, spaces included; comments and empty lines say nothing."""
    file = tmp_path / "filters"
    file.write_bytes("\ufeff# nightly\r\n\n+ *.csv\n+ with space \n- *.tmp\n- # hash\n".encode())
    assert filter_file(str(file)) == (["*.csv", "with space "], ["*.tmp", "# hash"])


@pytest.mark.parametrize("line", ["*.csv", "+*.csv", "+ ", "! x", "-"])
def test_line_that_is_no_pattern(tmp_path: Path, line: str) -> None:
    """The error names file and line, and shows the form."""
    file = tmp_path / "filters"
    file.write_text(f"+ a\n{line}\n")
    with pytest.raises(UsageError, match=r"filters', line 2: write '\+ PATTERN'"):
        filter_file(str(file))


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"+ \xff\n", "is not UTF-8"), (b"# " + b"x" * 2**20, "longer than 1 MiB"), (None, "No such file")],
    ids=["bytes", "long", "missing"],
)
def test_filter_file_that_cannot_be_used(tmp_path: Path, data: bytes | None, says: str) -> None:
    """A file of another kind is refused before anything is copied."""
    file = tmp_path / "filters"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(UsageError, match=says):
        filter_file(str(file))


@given(st.text(max_size=12))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    """No text is a surprise."""
    with suppress(UsageError):
        assert moment(text, name="--modified-after", now=NOW) != ""
