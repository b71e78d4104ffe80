"""Random histories keep the four promises; and the histories find the faults that are put into the engine by hand."""

import logging
from collections.abc import Iterator

import pytest

from tests.chaos.breakages import BREAKAGES
from tests.chaos.history import History

IN_CORE = 5
IN_CI = 50
IN_SOAK = 1_000
_AT_A_TIME = 50


@pytest.fixture(autouse=True)
def _without_log() -> Iterator[None]:
    """Leave the engine's log out: thousands of warnings are the point here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def broken_in(seed: int) -> list[str]:
    """Return the promises that a history broke, with the command that shows the history."""
    return [f"{text}\n(make chaos SEED={seed})" for text in History(seed).live().broken]


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(IN_CORE), id="core"),
        pytest.param(range(IN_CORE, IN_CI), id="CI", marks=pytest.mark.slow),
        *(
            pytest.param(range(start, start + _AT_A_TIME), id=f"{start}", marks=pytest.mark.soak)
            for start in range(IN_CI, IN_SOAK, _AT_A_TIME)
        ),
    ],
)
def test_random_histories_keep_the_promises(seeds: range) -> None:
    """Whatever fails, is lost, late or doubled, whoever else writes: what the reports say is true."""
    assert [text for seed in seeds for text in broken_in(seed)[:1]] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_engine_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the engine breaks a promise in one of the histories that run in CI."""
    BREAKAGES[name](monkeypatch)
    found_at = next((seed for seed in range(IN_CI) if broken_in(seed)), None)
    assert found_at is not None
    print(f"{name}: found in history {found_at}")  # noqa: T201 - a figure of docs/reliability.md


REPEATABLE = [seed for seed in range(IN_CI) if History(seed).is_repeatable]


@pytest.mark.parametrize(
    "seeds",
    [pytest.param(REPEATABLE[:3], id="core"), pytest.param(REPEATABLE[3:13], id="CI", marks=pytest.mark.slow)],
)
def test_a_seed_means_one_history(seeds: list[int]) -> None:
    """Run one request at a time, a history happens the same way again."""
    assert [seed for seed in seeds if History(seed).live().trace != History(seed).live().trace] == []
