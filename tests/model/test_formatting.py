"""Texts for people: sizes, counts and durations."""

import pytest

from s3_to_azure.model.formatting import count_text, duration_text, size_text, verdict_text

GIB = 1024**3


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1023.7, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (3.2 * GIB, "3.2 GiB"),
        (5000 * 1024 * GIB, "5,000.0 TiB"),
    ],
)
def test_size_text(size_bytes: float, text: str) -> None:
    """A size is in the unit with the fewest digits, and never 1,024.0 of a unit."""
    assert size_text(size_bytes) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 objects"), (1, "1 object"), (1204, "1,204 objects")])
def test_count_text(count: int, text: str) -> None:
    """Only one is singular."""
    assert count_text(count, "object") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.4, "9.4 s"),
        (9.6, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (4 * 86_400 + 3_700, "4 d 1 h"),
    ],
)
def test_duration_text(seconds: float, text: str) -> None:
    """A duration is in its two largest units."""
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({}, "No object was listed, so nothing was copied"),
        (
            {"copied": 1_587, "unchanged": 165, "failed": 248, "reasons": 6},
            "248 of 2,000 objects failed, for 6 reasons; 1,587 copied and proven, 165 unchanged",
        ),
        ({"failed": 1, "reasons": 1}, "1 of 1 object failed, for 1 reason; nothing was copied"),
        ({"skipped": 1, "failed": 1, "reasons": 1}, "1 of 2 objects failed, for 1 reason; 0 copied, 1 skipped"),
        ({"copied": 1}, "The object is accounted for: 1 copied and proven"),
        ({"unchanged": 2}, "All 2 objects are accounted for: 0 copied, 2 unchanged"),
        (
            {"copied": 5, "skipped": 2, "unproven": 3},
            "All 7 objects are accounted for: 5 copied (3 of them proven in transit only), 2 skipped",
        ),
    ],
)
def test_verdict_text(counts: dict[str, int], text: str) -> None:
    """One sentence, whose numbers add up to the listing, and which promises no proof that there is not."""
    numbers = dict.fromkeys(("copied", "unchanged", "skipped", "failed", "reasons"), 0) | counts
    listed = sum(numbers[status] for status in ("copied", "unchanged", "skipped", "failed"))
    assert verdict_text(listed=listed, **numbers) == text
