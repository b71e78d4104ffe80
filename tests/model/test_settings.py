"""Settings: what is refused, and sizes as people write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import GIB, KIB, MAX_BLOCK_BYTES, MIB, TIB
from s3_to_azure.model.settings import CopySettings, RetryBudget, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("12", 12),
        ("12B", 12),
        ("1KiB", KIB),
        ("256MiB", 256 * MIB),
        ("256 mib", 256 * MIB),
        (" 64M ", 64 * MIB),
        ("64Mi", 64 * MIB),
        ("1.5GB", 1_500_000_000),
        ("1.5GiB", GIB + GIB // 2),
        ("2T", 2 * TIB),
        ("2TB", 2 * 10**12),
        ("9007199254740993", 9_007_199_254_740_993),
        ("0.1MB", 100_000),
        (4096, 4096),
    ],
)
def test_sizes(text: str | int, size_bytes: int) -> None:
    """Binary with ``i`` or without ``B``, decimal with ``B``; no digit is lost."""
    assert parse_size(text, name="x") == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "MiB", "-1MiB", "1e9", "1,5GB", "1 2MB", "1PB", "1..5MB", "0x10", "nan", "inf", "9" * 400, "0.1B", "1.5"],
)
def test_no_sizes(text: str) -> None:
    """Everything else is wrong use that names the setting."""
    with pytest.raises(UsageError, match="memory_budget"):
        parse_size(text, name="memory_budget")


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_usage_error(text: str) -> None:
    """Whatever is typed, no other error comes out."""
    try:
        assert parse_size(text, name="x") >= 0
    except UsageError:
        pass


@given(st.integers(0, 2**48), st.sampled_from(["", "K", "KiB", "kb", "Mi", "MB", "GiB", "t"]))
def test_sizes_grow_with_their_number(number: int, unit: str) -> None:
    """A unit is a factor."""
    assert parse_size(f"{number}{unit}", name="x") == number * parse_size(f"1{unit}", name="x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"overwrite": "sometimes"},
        {"integrity": "md6"},
        {"block_bytes": 0},
        {"block_bytes": MIB - 1},
        {"block_bytes": MAX_BLOCK_BYTES + 1},
        {"memory_budget_bytes": MIB - 1},
        {"memory_budget_bytes": -1},
        {"objects_at_once": 0},
        {"objects_at_once": 1_001},
        {"connections": 0},
        {"refused_names": "ignore"},
    ],
)
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    """Each wrong value is refused where it is given, before anything is connected."""
    with pytest.raises(UsageError):
        CopySettings(**wrong)


@pytest.mark.parametrize("good", [{}, {"block_bytes": MIB}, {"block_bytes": MAX_BLOCK_BYTES}, {"integrity": "crc32"}])
def test_good_settings(good: dict[str, Any]) -> None:
    """The defaults and the bounds themselves are fine."""
    CopySettings(**good)


def test_retry_budget_is_as_documented() -> None:
    """The product of all budgets is written in the module's docstring from these names."""
    budget = RetryBudget()
    product = budget.attempts * (1 + budget.source_changes) * (1 + budget.commit_rounds)
    assert product == 6 * 3 * 4
