"""What a DAG's author passes: kinds, names, and what is known when the DAG is parsed."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from s3_to_azure.airflow.arguments import (
    COUNT,
    DURATION,
    FLAG,
    MAPPING,
    RETRIES,
    SIZE,
    TEXT,
    TEXTS,
    VERIFY,
    Kind,
    check_kinds,
    check_names,
    is_known,
)
from s3_to_azure.model.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (TEXT, ["", "x"], [None, 1, b"x", ["x"]]),
        (FLAG, [True, False], [None, "True", 0, 1]),
        (VERIFY, [True, False, "/path"], [None, 1]),
        (SIZE, ["1MiB", 0, -1], [None, True, 1.5, ["1"]]),
        (COUNT, [1, 2], [0, -1, True, "1", 1.0, None]),
        (RETRIES, [0, 1], [-1, False, "0", None]),
        (DURATION, [timedelta(0), timedelta(1)], [timedelta(-1), 60, "1h", None]),
        (MAPPING, [{}, {"a": 1}], [None, {1: 1}, [("a", 1)], "a"]),
        (TEXTS, [(), [], ["*.csv"], ("a", "b")], [None, "*.csv", [""], [1], {"a"}, 7]),
    ],
    ids=lambda value: value.expected if isinstance(value, Kind) else "",
)
def test_kinds(kind: Kind, right: list[Any], wrong: list[Any]) -> None:
    """True is no number, a text is no list of texts; None is allowed only where it is said."""
    assert [kind.accepts(value) for value in right] == [True] * len(right)
    assert [kind.accepts(value) for value in wrong] == [False] * len(wrong)
    assert kind.or_none.accepts(None)
    assert kind.or_none.accepts(right[0])
    assert not kind.or_none.accepts(next(value for value in wrong if value is not None))


def test_a_wrong_kind_is_named_with_what_is_expected() -> None:
    """The sentence says whose argument it is."""
    with pytest.raises(UsageError, match=r"copy: include='\*\.csv' is not a list of texts"):
        check_kinds("copy", {"include": "*.csv"}, {"include": TEXTS})


@pytest.mark.parametrize("value", ["{{ params.x }}", "{% if x %}", SimpleNamespace(resolve=print)])
def test_what_is_not_known_yet_is_not_checked(value: Any) -> None:
    """A template, and what another task will return."""
    assert not is_known(value)
    check_kinds("copy", {"x": value}, {"x": FLAG})


@pytest.mark.parametrize("value", ["", "x", None, 1, [], "{ }", SimpleNamespace(resolve=7)])
def test_everything_else_is_known(value: Any) -> None:
    """So it can be checked when the DAG is parsed."""
    assert is_known(value)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    """If none is near, all are named."""
    check_names(["min_size"], ["min_size", "max_size"], what="filter")
    with pytest.raises(UsageError, match=r"There is no filter 'min_siz'\. Did you mean min_size or max_size\?"):
        check_names(["min_siz"], ["min_size", "max_size", "storage_classes"], what="filter")
    with pytest.raises(UsageError, match=r"There is no filter 'qqq'\. There are max_size, min_size\."):
        check_names(["qqq"], ["min_size", "max_size"], what="filter")
