"""The verdict on a run: one sentence on top of the Migration page, whose numbers are those of the page. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from s3_to_azure.model.formatting import count_text, verdict_text
from s3_to_azure.model.reasons import UNPLANNED
from s3_to_azure.web.causes import Cause
from s3_to_azure.web.run_numbers import RunNumbers
from s3_to_azure.web.values import mapping, number

Tone = Literal["good", "bad", "warn", "busy"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run, or what it does now.

    Attributes:
        text: One sentence.
        state: The state's name for people, in one or two words.
    """

    text: str
    state: str
    tone: Tone

    def as_dict(self) -> dict[str, str]:
        """Return the values for the browser."""
        return {"text": self.text, "state": self.state, "tone": self.tone}


_STATES = {
    "waiting": "Waiting",
    "planning": "Planning",
    "copying": "Copying",
    "reporting": "Reporting",
}


def verdict_of(  # noqa: PLR0913 - what a sentence about a run depends on
    *,
    phase: str,
    succeeded: bool,
    dry_run: bool,
    numbers: RunNumbers,
    causes: Sequence[Cause],
    groups: Sequence[Mapping[str, Any]],
    report: Mapping[str, Any],
    waiting: Mapping[str, str] | None = None,
    missing_pools: Sequence[str] = (),
) -> Verdict:
    """Return the verdict."""
    if phase == "ended":
        state, tone = ("Dry run", "good") if dry_run and succeeded else ("Succeeded", "good")
        if not succeeded:
            state, tone = "Failed", "bad"
        return Verdict(
            _ended(numbers, causes, groups, report, succeeded=succeeded, dry_run=dry_run),
            state,
            "bad" if tone == "bad" else "good",
        )
    if missing_pools:
        return Verdict("Nothing starts: its tasks wait for a pool that does not exist.", "Stuck", "bad")
    state = _STATES[phase]
    text, is_bad = _going_on(phase, numbers, causes, waiting)
    if dry_run:
        text = f"Dry run, which copies nothing: {text[0].lower()}{text[1:]}"
    return Verdict(text, state, "bad" if is_bad else "warn" if numbers.failed or causes else "busy")


def _going_on(  # noqa: PLR0911 - a sentence for each phase
    phase: str, numbers: RunNumbers, causes: Sequence[Cause], waiting: Mapping[str, str] | None
) -> tuple[str, bool]:
    cause = next(iter(causes), None)
    if cause and cause.will_retry:
        return f"{_task(cause)} failed and will be tried again{_of(cause)}.", False
    if cause:
        return f"{_task(cause)} failed{_of(cause)}.", True
    if phase == "waiting" and waiting:
        found = f": {waiting['found']} so far" if waiting.get("found") else ""
        return f"Waiting for objects in {waiting['source']}{found}.", False
    if phase == "waiting":
        return "Looking for objects to copy.", False
    if phase == "planning":
        listed = f" of {count_text(numbers.listed, 'object')}" if numbers.listed else ""
        return f"Planning the copy{listed}.", False
    failed = f"; {numbers.failed:,} failed so far" if numbers.failed else ""
    if phase == "reporting":
        return f"Accounting for all {count_text(numbers.listed, 'object')}{failed}.", False
    return f"{numbers.copied:,} of {count_text(numbers.to_copy, 'object')} to copy are in Azure{failed}.", False


def _ended(
    numbers: RunNumbers,
    causes: Sequence[Cause],
    groups: Sequence[Mapping[str, Any]],
    report: Mapping[str, Any],
    *,
    succeeded: bool,
    dry_run: bool,
) -> str:
    if succeeded and dry_run:
        return (
            f"Dry run: {numbers.to_copy - numbers.failed:,} of {count_text(numbers.listed, 'object')} would be copied."
        )
    cause = next(iter(causes), None)
    if "listed" in report and not (cause and not numbers.failed and not succeeded):
        reasons = sum(1 for group in groups if group["reason"] != UNPLANNED) or 1
        sentence = verdict_text(
            listed=numbers.listed,
            copied=numbers.copied,
            unchanged=numbers.unchanged,
            skipped=numbers.skipped,
            failed=numbers.failed,
            reasons=reasons,
            unproven=int(number(mapping(report, "proofs"), "transport")),
        )
        return f"{sentence}{_unplanned(numbers)}."
    if cause:
        listed = f"; none of {count_text(numbers.listed, 'listed object')} was copied" if not numbers.copied else ""
        return f"{_task(cause)} failed{_of(cause)}{listed if numbers.listed else ''}{_copied(numbers)}."
    if not succeeded:
        return f"The run failed, and no task has noted why{_copied(numbers)}."
    return f"{count_text(numbers.copied, 'object')} of {numbers.listed:,} copied."


def _unplanned(numbers: RunNumbers) -> str:
    return f"; {numbers.unplanned:,} were listed after the plan, or not planned" if numbers.unplanned else ""


def _copied(numbers: RunNumbers) -> str:
    return f"; {numbers.copied:,} of {count_text(numbers.listed, 'object')} are in Azure" if numbers.copied else ""


def _task(cause: Cause) -> str:
    return f"The task {cause.task_id}" if cause.tasks == 1 else f"{cause.tasks:,} tasks of {cause.task_id}"


def _of(cause: Cause) -> str:
    return f" on {cause.subject}" if cause.subject else ""
