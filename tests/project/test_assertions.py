"""Every test asserts something of its own, or says in its name that it only runs the code: ``..._does_not_raise``."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
# A helper that asserts says so in its name.
_HELPER: Final = ("assert_", "check_", "expect_")
_PYTEST: Final = ("fail", "raises", "warns")
_RUNS_ONLY: Final = ("does_not_raise", "do_not_raise")


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the tests.

    Attributes:
        place: File and line, as editors open it.
        name: Its name.
        asserts: Whether it holds an assertion itself.
        calls: Names of the functions and methods that it calls.
    """

    place: str
    name: str
    asserts: bool
    calls: frozenset[str]


def functions_in(path: str, text: str) -> Iterator[Function]:
    """Yield each function and method of a file, nested ones too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            calls = frozenset(_called(each.func) for each in ast.walk(node) if isinstance(each, ast.Call))
            asserts = any(isinstance(each, ast.Assert) or _is_assertion(each) for each in ast.walk(node))
            yield Function(f"{path}:{node.lineno}", node.name, asserts, calls)


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_assertion(node: ast.AST) -> bool:
    """Return whether a call asserts by itself: one of pytest's, or Playwright's ``expect``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "expect":
        return True
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "pytest"
        and node.func.attr in _PYTEST
    )


def asserting_helpers(functions: list[Function]) -> set[str]:
    """Return the names of the helpers that assert: themselves, or through another such helper."""
    helpers = [function for function in functions if function.name.lstrip("_").startswith(_HELPER)]
    found = {function.name for function in helpers if function.asserts}
    while more := {function.name for function in helpers if function.calls & found} - found:
        found |= more
    return found


def without_assertion(files: dict[str, str]) -> list[Function]:
    """Return the tests that assert nothing and do not say so; ``files`` maps paths to texts."""
    functions = [function for path, text in files.items() for function in functions_in(path, text)]
    helpers = asserting_helpers(functions)
    return [
        function
        for function in functions
        if function.name.startswith("test_")
        and not function.asserts
        and not function.calls & helpers
        and not any(words in function.name for words in _RUNS_ONLY)
    ]


def test_every_test_asserts_or_says_that_it_only_runs() -> None:
    """A test without an assertion passes for as long as nothing raises: its name says that this is what it holds."""
    files = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")
    }
    assert [f"{function.place} {function.name}" for function in without_assertion(files)] == []


@pytest.mark.parametrize(
    "text",
    [
        "def test_a(): assert 1",
        "def test_a():\n    with pytest.raises(ValueError): f()",
        "def test_a(): pytest.fail('x')",
        "def test_a_does_not_raise(): f()",
        "def test_both_do_not_raise(): f()",
        "def test_a(): check_it()\ndef check_it(): assert 1",
        "def test_a(): _expect_it()\ndef _expect_it(): assert_it()\ndef assert_it(): assert 1",
    ],
)
def test_tests_with_an_assertion_pass(text: str) -> None:
    """Directly, through pytest, through a helper, or by name."""
    assert without_assertion({"a.py": text}) == []


@pytest.mark.parametrize(
    "text",
    [
        "def test_a(): f()",
        "def test_a(): check_it()\ndef check_it(): f()",
        "def test_a(): helper()\ndef helper(): assert 1",
        "def test_a(): subprocess.run(['true'], check=True)",
    ],
)
def test_tests_without_an_assertion_are_named(text: str) -> None:
    """Neither a helper that asserts nothing counts, nor one whose name does not say that it asserts."""
    assert [function.name for function in without_assertion({"a.py": text})] == ["test_a"]
