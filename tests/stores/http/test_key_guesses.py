"""Guesses: as far behind a key as the keys of a page are from each other."""

import pytest

from s3_to_azure.stores.http.key_guesses import LAST_COMPARABLE, Folders, Guesses


@pytest.mark.parametrize(
    ("keys", "after", "guess"),
    [
        ([f"k{number:04}" for number in range(100)], "k0099", "k01990"),
        ([f"k{number:04}" for number in range(9_900, 10_000)], "k9999", "k9:"),
        ([f"{number:04x}" for number in range(0x3950, 0x39B0)], "39af", "3a06"),
        ([f"{number:04x}" for number in range(0x3F10, 0x3F60)], "3ff0", "4039"),
    ],
    ids=["numbers", "past the last digit", "hexadecimal", "hexadecimal, past the last digit"],
)
def test_next_page_starts_as_far_away_as_the_last(keys: list[str], after: str, guess: str) -> None:
    """Counted in the digits that the page shows."""
    found = Guesses(keys).after(after)
    assert found is not None
    assert after < found
    assert found[:3] == guess[:3]


def test_nothing_is_guessed_behind_the_last_text() -> None:
    """No text of these characters comes behind it."""
    assert Guesses([LAST_COMPARABLE, LAST_COMPARABLE * 2]).after(LAST_COMPARABLE * 3) is None


def test_guess_behind_a_folder_is_the_next_folder() -> None:
    """Where its names end as those of the folder before did."""
    folders = Folders()
    for folder in (10, 11, 12):
        folders.learn([f"{folder}/{number:02}" for number in (0, 40)])
    assert folders.next_after("12/40", "12/70", 3) == "13/00"
    assert folders.next_after("12/10", "12/30", 3) == "12/30"
