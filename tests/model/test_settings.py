"""Settings: which values are refused, and how sizes are read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import GIB, KIB, MAX_BLOCK_BYTES, MIB, TIB
from s3_to_azure.model.options import Via
from s3_to_azure.model.settings import (
    RATE_PATTERN,
    SIZE_PATTERN,
    CopySettings,
    Fidelity,
    RetryBudget,
    parse_rate,
    parse_size,
)


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
def test_other_texts_are_no_sizes(text: str) -> None:
    """The error names the setting."""
    with pytest.raises(UsageError, match="memory_budget"):
        parse_size(text, name="memory_budget")


@pytest.mark.parametrize("text", ["50MB", "50 MB/s", "50mb/S", " 50 MB / s ", "50000000", "50000000/s", 50_000_000])
def test_rates(text: str | int) -> None:
    """Everybody writes ``/s``, and it changes nothing."""
    assert parse_rate(text, name="x") == 50_000_000


@pytest.mark.parametrize("text", ["", "/s", "50 MB/h", "50 MB/s/s", "50 Mbit/s", "50 Mbps", "fast"])
def test_other_texts_are_no_rates(text: str) -> None:
    """The error says how to write one; a size has no ``/s``."""
    with pytest.raises(UsageError, match=r"bandwidth_limit=.* in bytes per second.*Write for example 50 MB/s"):
        parse_rate(text, name="bandwidth_limit")
    with pytest.raises(UsageError):
        parse_size("50 MB/s", name="memory_budget")


@given(st.one_of(st.from_regex(RATE_PATTERN, fullmatch=True), st.from_regex(SIZE_PATTERN, fullmatch=True)))
def test_what_the_patterns_accept_can_be_read(text: str) -> None:
    """So the form refuses what a task would refuse."""
    assert parse_rate(text, name="x") >= 0


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    """No text raises another error."""
    try:
        assert parse_size(text, name="x") >= 0
    except UsageError:
        pass


@given(st.integers(0, 2**48), st.sampled_from(["", "K", "KiB", "kb", "Mi", "MB", "GiB", "t"]))
def test_a_unit_is_a_factor(number: int, unit: str) -> None:
    """A size is its number times the size of its unit."""
    assert parse_size(f"{number}{unit}", name="x") == number * parse_size(f"1{unit}", name="x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"overwrite": "sometimes"},
        {"integrity": "md6"},
        {"via": "azcopy"},
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
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    """A wrong value is refused before anything is connected."""
    with pytest.raises(UsageError):
        CopySettings(**wrong)


@pytest.mark.parametrize("good", [{}, {"block_bytes": MIB}, {"block_bytes": MAX_BLOCK_BYTES}, {"integrity": "crc32"}])
def test_settings_at_their_bounds_do_not_raise(good: dict[str, Any]) -> None:
    """The defaults and the bounds themselves are allowed."""
    CopySettings(**good)


def test_the_retry_budgets_multiply_as_documented() -> None:
    """Tries, resumed reads, changed sources, commit rounds, Airflow's retries: the module's docstring has them all."""
    budget = RetryBudget(attempts=2, resumes=4, source_changes=6, commit_rounds=10)
    assert budget.most_requests_for_a_block(airflow_retries=12) == 2 * 5 * 7 * 11 * 13


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"archived": "ignore"}, "archived"),
        ({"oversized_metadata": "cut"}, "oversized_metadata"),
        ({"restore_tier": "standard"}, "restore_tier"),
        ({"restore_days": 0}, "restore_days"),
        ({"restore_days": 366}, "restore_days"),
        ({"restore_days": "7"}, "restore_days"),
        ({"tags": "yes"}, "tags"),
        ({"tiers": "Cool"}, "tiers"),
        ({"tiers": {"GLACIER": "Frozen"}}, "access tier of GLACIER"),
        ({"speed": "high"}, "speed"),
    ],
)
def test_fidelity_refuses_other_choices(wrong: dict[str, Any], named: str) -> None:
    """The error names the choice that does not exist, or has another value."""
    with pytest.raises(UsageError, match=named):
        Fidelity.of(wrong)


def test_fidelity_reads_a_mapping() -> None:
    """Nothing given means the defaults."""
    assert Fidelity.of(None) == Fidelity.of({}) == Fidelity()
    given = {"archived": "restore", "restore_days": 365, "tags": True, "tiers": {"GLACIER": "Archive"}}
    assert Fidelity.of(given) == Fidelity(archived="restore", restore_days=365, tags=True, tiers={"GLACIER": "Archive"})


@pytest.mark.parametrize(("via", "sockets", "connections"), [("worker", 96, 8), ("auto", 96, 6), ("azure", 480, 30)])
def test_fetches_count_against_the_open_files(via: Via, sockets: int, connections: int) -> None:
    """Each block that Azure fetches keeps a socket open here."""
    fitting = CopySettings(via=via).within(sockets)
    assert fitting.connections == connections
    open_at_once = 4 * fitting.objects_at_once + 2 * fitting.connections + 2 * fitting.most_small_objects
    assert open_at_once + (fitting.fetches_at_once if via != "worker" else 0) <= sockets


def test_too_few_open_files_to_fetch() -> None:
    """The sentence says how many a copy needs."""
    with pytest.raises(UsageError, match="needs 16"):
        CopySettings(via="azure").within(15)
