"""The reference of reasons and values and the code name the same statuses, reasons and option values."""

import ast
import inspect
import re
from collections.abc import Iterator

import pytest

from s3_to_azure.model import defaults, errors, options, reasons
from s3_to_azure.model.errors import PermanentError, TransferError
from s3_to_azure.transfer.commit import LeftoverBlocks
from s3_to_azure.transfer.fetched.eligibility import NotFetchable
from tests.docs.pages import ROOT, text_of

PAGE = "docs/reference/reasons.md"
PACKAGE = ROOT / "plugins/s3_to_azure"
# Errors that are never raised themselves.
GROUPS = {
    errors.TransientError,
    errors.PermanentError,
    errors.AccessError,
    errors.SourceError,
    errors.DestinationError,
}


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    section = text_of(PAGE).split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+) \|$", section, re.MULTILINE)
    return [row.split(" | ") for row in rows[1:]]


def code(cell: str) -> str:
    """Return what a cell of one code says."""
    assert re.fullmatch(r"`[^`]+`", cell), cell
    return cell.strip("`")


def error_classes(root: type[TransferError] = TransferError) -> Iterator[type[TransferError]]:
    """Yield the package's own errors that can be raised."""
    for each in root.__subclasses__():
        if each.__module__.startswith("s3_to_azure."):
            if each not in GROUPS:
                yield each
            yield from error_classes(each)


def test_statuses() -> None:
    """Each status has its row, in the code's order."""
    assert [code(row[0]) for row in table("Statuses")] == list(reasons.STATUSES)


@pytest.mark.parametrize(
    ("heading", "statuses"),
    [
        ("Reasons of objects that are in Azure", [reasons.COPIED, reasons.UNCHANGED]),
        ("Reasons of skipped objects", [reasons.SKIPPED]),
    ],
)
def test_reasons(heading: str, statuses: list[reasons.Status]) -> None:
    """Each reason has its row with its status, a meaning and what to do, in the code's order."""
    rows = table(heading)
    assert [(code(row[0]), code(row[1])) for row in rows] == [
        (status, reason) for status in statuses for reason in reasons.REASONS[status]
    ]
    assert all(len(row) == 4 and row[2] and row[3] for row in rows)


def test_reasons_of_failed_objects() -> None:
    """The reasons that are not errors, and then every error, with whether a retry may help and where to read on."""
    rows = table("Reasons of failed objects")
    own = [row for row in rows if row[0] == "`failed`"]
    assert [code(row[1]) for row in own] == list(reasons.REASONS[reasons.FAILED])
    told = {tuple(row) for row in rows[len(own) + 1 :]}
    assert {LeftoverBlocks, NotFetchable} <= set(error_classes())
    assert {(row[0], row[2], row[3]) for row in told} == {
        (
            f"`{each.reason()}`",
            "no" if issubclass(each, PermanentError) else "yes",
            f"[`{each.__name__}`](../troubleshooting.md#{each.__name__.lower()})",
        )
        for each in error_classes()
    }


def test_values_of_options() -> None:
    """Each option has its row with all its values and its default."""
    code_says = {
        "overwrite": (options.OVERWRITE, defaults.OVERWRITE),
        "integrity": (options.INTEGRITY, defaults.INTEGRITY),
        "refused_names": (options.REFUSED_NAMES, defaults.REFUSED_NAMES),
        "archived": (options.ARCHIVED, defaults.ARCHIVED),
        "oversized_metadata": (options.OVERSIZED_METADATA, defaults.OVERSIZED_METADATA),
        "etag_is_md5": (options.ETAG_IS_MD5, defaults.ETAG_IS_MD5),
        "via": (options.VIA, defaults.VIA),
        "restore_tier": (options.RESTORE_TIERS, defaults.RESTORE_TIER),
    }
    told = {code(row[0]): (tuple(map(code, row[1].split(", "))), row[2]) for row in table("Values of options")}
    assert told.pop("tiers")[0] == options.ACCESS_TIERS
    assert told == {name: (values, f"`{default}`") for name, (values, default) in code_says.items()}


def test_every_constant_is_in_a_list() -> None:
    """A reason or status that the lists of ``reasons`` leave out would escape the tests above."""
    constants = {value for name, value in inspect.getmembers(reasons) if name.isupper() and isinstance(value, str)}
    listed = {reason for group in reasons.REASONS.values() for reason in group}
    assert constants == listed | set(reasons.STATUSES) | set(reasons.NOT_FETCHED)


def test_reasons_of_objects_that_are_not_fetched() -> None:
    """Each code has its row with a meaning and what to do, in the code's order; each has a sentence in the code."""
    rows = table("Why Azure does not fetch an object")
    assert [code(row[0]) for row in rows] == list(reasons.NOT_FETCHED)
    assert all(len(row) == 3 and row[1] and row[2] for row in rows)
    assert all(reasons.NOT_FETCHED.values())


def test_no_error_has_the_name_of_another_reason() -> None:
    """A code alone says what happened."""
    names = [each.reason() for each in error_classes()]
    listed = [reason for group in (*reasons.REASONS.values(), reasons.NOT_FETCHED) for reason in group]
    assert len({*names, *listed}) == len(names) + len(listed)


# Words that are reasons, and elsewhere names of other things: settings, attributes, fields of a summary.
ELSEWHERE = {"archived"}


def test_reasons_are_written_in_one_module() -> None:
    """A reason written a second time could differ from the first."""
    listed = {reason for group in (*reasons.REASONS.values(), reasons.NOT_FETCHED) for reason in group} - ELSEWHERE
    names = {each.reason() for each in error_classes()}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path == PACKAGE / "model/reasons.py":
            continue
        texts = {
            node.value.partition(":")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert (path.name, texts & (listed | names)) == (path.name, set())
