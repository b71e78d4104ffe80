"""The texts that people type: choices, moments, and files of patterns."""

from pathlib import Path

import pytest

from s3_to_azure.cli.values import choice, filter_file
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.options import OVERWRITE, RESTORE_TIERS


@pytest.mark.parametrize("text", ["if_changed", "if-changed", "If-Changed", "IF_CHANGED"])
def test_choice_may_have_hyphens_and_capitals(text: str) -> None:
    """The value is the one that the settings know."""
    assert choice(OVERWRITE)(text) == "if_changed"


def test_choice_keeps_the_case_of_its_value_and_leaves_others_to_be_refused() -> None:
    """Azure's and S3's own words have capitals."""
    assert choice(RESTORE_TIERS)("expedited") == "Expedited"
    assert choice(OVERWRITE)("some-times") == "some-times"


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
