"""The texts that people type as values of options: choices, and patterns from a file."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from s3_to_azure.model.errors import UsageError

_MAX_FILTER_BYTES: Final = 1024 * 1024


def choice(values: Collection[str]) -> Callable[[str], str]:
    """Return a reader of one of the values, which may be written with hyphens or in capitals."""

    def read(text: str) -> str:
        same = [value for value in values if value.lower() == text.lower().replace("-", "_")]
        return same[0] if same else text

    return read


def filter_file(path: str) -> tuple[list[str], list[str]]:
    """Return the patterns of ``--filter-from``: those after a ``+``, and those after a ``-``.

    Raises:
        UsageError: The file cannot be read, or a line is not such a pattern.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_FILTER_BYTES + 1)
        lines = data.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(detail=f"--filter-from {path!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise UsageError(detail=f"--filter-from {path!r} is not UTF-8 text.") from None
    if len(data) > _MAX_FILTER_BYTES:
        raise UsageError(detail=f"--filter-from {path!r} is longer than 1 MiB.")
    patterns: dict[str, list[str]] = {"+": [], "-": []}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        sign, space, pattern = line[:1], line[1:2], line[2:]
        if sign not in patterns or space != " " or not pattern:
            raise UsageError(
                detail=f"--filter-from {path!r}, line {number}: write '+ PATTERN' for keys to include, "
                "'- PATTERN' for keys to exclude, or '# text' for a comment."
            )
        patterns[sign].append(pattern)
    return patterns["+"], patterns["-"]
