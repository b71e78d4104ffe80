"""The project speaks in the field's words: a private word that was replaced does not come back."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PLACES: Final = ("plugins", "docs", "dags", "demo", "README.md", "CONTRIBUTING.md")
_TEXT: Final = {".css", ".html", ".js", ".json", ".md", ".py", ".sh", ".svg", ".yaml", ".yml"}
# One word of prose, of snake_case or of CamelCase.
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# What the code and the pages said once, and what they say now. In lower case: in any case and inside identifiers.
SINGLE_WORDS: Final = {
    "aloft": "in flight",
    "belongings": "blob properties",
    "bench": "transfer, attempt",
    "climb": "concurrency controller",
    "crew": "worker pool",
    "evidence": "integrity check",
    "flight": "in flight",
    "gate": "request limiter",
    "ladder": "verification levels",
    "landed": "done",
    "lane": "connection, worker",
    "lanes": "connections, workers",
    "ledger": "copy stats",
    "mind": "warning:",
    "patiently": "with retries",
    "rung": "verification level",
    "rungs": "verification levels",
    "shop": "context",
    "sight": "progress snapshot",
    "survey": "plan builder",
    "teller": "progress reporter",
    "workshop": "transfer context",
}
# Common English words in prose: forbidden as names of classes only.
CLASSES: Final = {"Notes": "TaskStateStore", "Sides": "Stores"}
PHRASES: Final = {
    "BadState": "CorruptState",
    "DamagedOnTheWay": "CorruptedInTransit",
    "MadeThroughFiles": "WrittenThroughDatalakeApi",
    "SomeObjectsFailedForNow": "RetryableObjectsFailed",
    "WrongUse": "UsageError",
    "bad_state": "corrupt_state",
    "damaged_on_the_way": "corrupted_in_transit",
    "made_through_files": "written_through_datalake_api",
    "some_objects_failed_for_now": "retryable_objects_failed",
    "wrong_use": "usage_error",
}


@dataclass(frozen=True, slots=True)
class Allowed:
    """A place where one of the words may stand.

    Attributes:
        path: The file, or a folder with ``/`` at the end.
        word: The word, in lower case.
        line: A pattern that the line fits.
        reason: Why the word is right there.
    """

    path: str
    word: str
    line: str
    reason: str


ALLOWED: Final = (Allowed("docs/", "bench", r"make bench|BENCH_ARGS", "the make target that runs the benchmarks"),)


@dataclass(frozen=True, slots=True)
class Found:
    """One of the words in a file."""

    path: str
    line: int
    word: str
    instead: str
    text: str

    def __str__(self) -> str:
        """Return its place as editors open it, and what to write instead."""
        return f"{self.path}:{self.line}: {self.word} -> {self.instead}: {self.text.strip()[:100]}"


def files(place: str) -> Iterator[Path]:
    """Yield the text files of a folder, or the one file."""
    path = ROOT / place
    if path.is_file():
        yield path
    else:
        yield from sorted(file for file in path.rglob("*") if file.suffix in _TEXT and file.is_file())


def words_in(path: str, text: str) -> Iterator[Found]:
    """Yield every word of the tables that stands in a text."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in _WORD.finditer(line):
            word, before = match[0], line[: match.start()]
            if word.lower() == "flight" and re.search(r"(?:(?<![a-zA-Z])(?:in|IN|In)[ _-]|In)\Z", before):
                continue
            if word.lower() in SINGLE_WORDS:
                yield Found(path, number, word.lower(), SINGLE_WORDS[word.lower()], line)
        for name, instead in CLASSES.items():
            # Capital in the middle of a line of code; a sentence or a heading may begin with it.
            if path.endswith(".py") and re.search(rf"(?:[\w(\[:=.|] ?|class ){name}\b(?! [a-z])", line):
                yield Found(path, number, name, instead, line)
        for phrase, instead in PHRASES.items():
            if phrase in line:
                yield Found(path, number, phrase, instead, line)


def _allows(allowed: Allowed, found: Found) -> bool:
    inside = found.path.startswith(allowed.path) if allowed.path.endswith("/") else found.path == allowed.path
    return inside and found.word.lower() == allowed.word and re.search(allowed.line, found.text) is not None


def left_in(place: str) -> list[Found]:
    """Return the words that stand in a place without an exception."""
    return [
        found
        for file in files(place)
        for found in words_in(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))
        if not any(_allows(allowed, found) for allowed in ALLOWED)
    ]


@pytest.mark.parametrize("place", PLACES)
def test_no_private_word_is_left(place: str) -> None:
    """Whoever knows S3, Azure and Airflow can read every sentence and every name."""
    assert [str(found) for found in left_in(place)] == []


@pytest.mark.parametrize("allowed", ALLOWED, ids=lambda allowed: f"{allowed.path} {allowed.word}")
def test_every_exception_is_used(allowed: Allowed) -> None:
    """An exception whose line is gone is deleted."""
    path = ROOT / allowed.path
    for file in files(allowed.path) if path.exists() else ():
        name = file.relative_to(ROOT).as_posix()
        if any(_allows(allowed, each) for each in words_in(name, file.read_text(encoding="utf-8"))):
            return
    pytest.fail(f"{allowed.path} has no line that this allows: {allowed.word}")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("the Workshop", "workshop"),
        ("shop.buffers", "shop"),
        ("_small_lanes = 3", "lanes"),
        ("class SmallObjectLane:", "lane"),
        ("LANES = 3", "lanes"),
        ("raise WrongUse(", "WrongUse"),
        ("its flight is over", "flight"),
        ("def f(notes: Notes) -> None:", "Notes"),
        ("reason wrong_use", "wrong_use"),
    ],
)
def test_words_are_found_in_prose_and_in_names(text: str, word: str) -> None:
    """Snake case, camel case and capitals hide nothing."""
    assert [found.word for found in words_in("a.py", text)] == [word]


@pytest.mark.parametrize(
    "text",
    [
        "blocks in flight",
        "in_flight = 3",
        "class InFlight:",
        "_in_flight += 1",
        "_IN_FLIGHT = 3",
        "self.most_in_flight",
        "aggregate",
        "Gateway Timeout",
        "plane",
        "workshops",
        "both sides",
    ],
)
def test_other_words_are_left_alone(text: str) -> None:
    """A longer word that holds one of these is another word."""
    assert [found.word for found in words_in("a.py", text)] == []
