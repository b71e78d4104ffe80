"""Texts for people: sizes, counts and durations."""

from typing import Final

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")
_UNIT: Final = 1024
_SHORT_S: Final = 10
_MINUTE_S: Final = 60
_HOUR_S: Final = 60 * _MINUTE_S
_DAY_S: Final = 24 * _HOUR_S


def size_text(size_bytes: float) -> str:
    """Return a size in a fitting unit: ``0 bytes``, ``1 byte``, ``3.2 GiB``."""
    if round(size_bytes) < _UNIT:
        return count_text(round(size_bytes), "byte")
    value = float(size_bytes)
    for unit in _UNITS:
        value /= _UNIT
        # 1023.95 would be rounded to 1,024.0.
        if value < _UNIT - 0.05 or unit == _UNITS[-1]:
            return f"{value:,.1f} {unit}"
    raise AssertionError("unreachable: the last unit takes every size")


def count_text(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: ``1 object``, ``1,204 objects``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {plural or noun + 's'}"


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units: ``0.4 s``, ``12 s``, ``2 min 5 s``, ``3 h 20 min``, ``4 d 1 h``."""
    whole = round(seconds)
    if whole < _SHORT_S:
        return f"{seconds:.1f} s"
    for large, small, large_unit, small_unit in (
        (_DAY_S, _HOUR_S, "d", "h"),
        (_HOUR_S, _MINUTE_S, "h", "min"),
        (_MINUTE_S, 1, "min", "s"),
    ):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {large_unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def verdict_text(
    *, listed: int, copied: int, unchanged: int, skipped: int, failed: int, reasons: int, unproven: int = 0
) -> str:
    """Return the result of a run in one sentence without its full stop; its numbers add up to ``listed``.

    Args:
        listed: All objects of the run.
        copied: Objects that the run copied.
        unchanged: Objects whose blobs were copies of their current versions.
        skipped: Objects that were left out on purpose.
        failed: Objects that are not in Azure.
        reasons: For how many reasons they failed.
        unproven: How many of the copied objects are proven in transit only, because S3 stores no checksum of them.
    """
    if not listed:
        return "No object was listed, so nothing was copied"
    proven = "and proven" if not unproven else f"({unproven:,} of them proven in transit only)"
    others = [f"{copied:,} copied {proven}"] if copied else ["0 copied"]
    others += [f"{count:,} {word}" for count, word in ((unchanged, "unchanged"), (skipped, "skipped")) if count]
    rest = ", ".join(others)
    if failed:
        verb = f"{failed:,} of {count_text(listed, 'object')} failed, for {count_text(reasons, 'reason')}"
        return f"{verb}; {rest}" if failed < listed else f"{verb}; nothing was copied"
    return f"{'The object is' if listed == 1 else f'All {listed:,} objects are'} accounted for: {rest}"
