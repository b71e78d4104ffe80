"""The reliability page names existing tests, one for each promise and invariant, and the code's retry budgets."""

import inspect
import re

import pytest

from s3_to_azure.dag import migration_dag
from s3_to_azure.model.settings import RetryBudget
from tests.docs.pages import ROOT, text_of

PAGE = "docs/reliability.md"
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text_of(PAGE))))


def section(title: str) -> str:
    """Return the text of a section."""
    return text_of(PAGE).split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_named_tests_exist(path: str, name: str) -> None:
    """A test that the page names is a function of the file."""
    source = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^ *def {name}\(", source, re.MULTILINE), f"{path} has no {name}"


@pytest.mark.parametrize("number", range(1, 11))
def test_each_invariant_has_a_test(number: int) -> None:
    """Each invariant of the design has a row on this page that names a test."""
    design = text_of("docs/design.md")
    assert re.search(rf"^\| {number} \|", design, re.MULTILINE)
    (row,) = re.findall(rf"^\| {number} .*", section("The invariants"), re.MULTILINE)
    assert re.search(r"::test_\w+`", row)


def test_the_design_has_no_more_invariants() -> None:
    """A new invariant must be added to the test above."""
    assert not re.search(r"^\| 11 \|", text_of("docs/design.md"), re.MULTILINE)


@pytest.mark.parametrize("number", range(1, 5))
def test_each_promise_has_a_test(number: int) -> None:
    """Each of the four promises has a row that names a test."""
    rows = re.findall(rf"^\| {number} never .*", section("The four promises"), re.MULTILINE)
    assert rows
    assert all("::test_" in row for row in rows)


def test_every_fault_test_of_an_invariant_or_promise_is_named() -> None:
    """The page names each fault test whose name says a promise or an invariant."""
    named = {name for _, name in NAMED}
    files = [*(ROOT / "tests/faults").glob("test_*.py"), *(ROOT / "tests/cluster").glob("test_*.py")]
    there = {
        name
        for path in files
        for name in re.findall(r"^def (test_(?:invariant|promise)_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert there - named == set()


def test_retry_budgets_match_the_code() -> None:
    """The page shows the product of the code's budgets."""
    budget, retries = RetryBudget(), inspect.signature(migration_dag).parameters["retries"].default
    factors = (budget.attempts, 1 + budget.resumes, 1 + budget.source_changes, 1 + budget.commit_rounds, 1 + retries)
    product = budget.most_requests_for_a_block(airflow_retries=retries)
    assert f"{' x '.join(map(str, factors))} = {product} times" in section("How often a request is tried")
    for number in (budget.attempts, f"{budget.first_wait_s:g} s", f"{budget.longest_wait_s:g} s"):
        assert str(number) in section("How often a request is tried")
