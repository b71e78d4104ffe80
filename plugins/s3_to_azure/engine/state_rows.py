"""Values of a JSON object that is read once in a run, such as a pointer: each taken by name, type and range."""

import json
import re
from datetime import datetime
from typing import Final

from s3_to_azure.model.errors import BadState

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Row:
    """An object's values, each taken by name, type and range; anything else is ``BadState``.

    Args:
        line: The line's bytes.
        path: The file, for the error.
    """

    __slots__ = ("_path", "_values")

    def __init__(self, line: bytes | str, path: str) -> None:
        """Parse the line.

        Raises:
            BadState: It is no JSON object.
        """
        self._path = path
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            raise self.bad("a line is not JSON") from None
        if not isinstance(values, dict):
            raise self.bad("a line is no JSON object")
        self._values: dict[str, object] = values

    @classmethod
    def of(cls, values: object, path: str) -> "Row":
        """Return the row of values that are parsed already.

        Raises:
            BadState: They are no mapping of names.
        """
        row = cls(b"{}", path)
        if not isinstance(values, dict):
            raise row.bad("it is no JSON object")
        row._values = dict(values)
        return row

    def bad(self, detail: str) -> BadState:
        """Return the error that names the file."""
        return BadState(path=self._path, detail=detail)

    def text(self, name: str, *, most: int, pattern: re.Pattern[str] | None = None) -> str:
        """Return a text of at most so many characters, which can be written as UTF-8 and fits the pattern."""
        value = self._values.pop(name, None)
        if not isinstance(value, str) or len(value) > most:
            raise self.bad(f"{name} is no text of at most {most} characters")
        if _SURROGATE.search(value):
            raise self.bad(f"{name} is no Unicode text")
        if pattern and not pattern.fullmatch(value):
            raise self.bad(f"{name} has characters that it cannot have")
        return value

    def optional_text(self, name: str, *, most: int, pattern: re.Pattern[str] | None = None) -> str | None:
        """Return such a text, or None for null."""
        if name in self._values and self._values[name] is None:
            del self._values[name]
            return None
        return self.text(name, most=most, pattern=pattern)

    def number(self, name: str, *, least: int = 0, most: int) -> int:
        """Return an integer in ``[least, most]``."""
        value = self._values.pop(name, None)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.bad(f"{name} is no number between {least} and {most}")
        return value

    def seconds(self, name: str, *, most: float) -> float:
        """Return a finite number in ``[0, most]``."""
        value = self._values.pop(name, None)
        # Written so that NaN fails too.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
            raise self.bad(f"{name} is no number between 0 and {most}")
        return float(value)

    def flag(self, name: str) -> bool:
        """Return True or False."""
        value = self._values.pop(name, None)
        if not isinstance(value, bool):
            raise self.bad(f"{name} is neither true nor false")
        return value

    def moment(self, name: str) -> datetime:
        """Return a moment with its time zone."""
        text = self.text(name, most=40)
        try:
            moment = datetime.fromisoformat(text)
            offset = moment.utcoffset()
        except ValueError:
            raise self.bad(f"{name} is no moment") from None
        if offset is None:
            raise self.bad(f"{name} has no time zone")
        return moment

    def rows(self, name: str, *, most: int) -> list["Row"]:
        """Return a list of objects."""
        value = self._values.pop(name, None)
        if not isinstance(value, list) or len(value) > most:
            raise self.bad(f"{name} is no list of at most {most} things")
        return [Row.of(item, self._path) for item in value]

    def has(self, name: str) -> bool:
        """Say whether there is such a value, not yet taken."""
        return name in self._values

    def end(self) -> None:
        """Check that every value was taken."""
        if self._values:
            raise self.bad(f"it has {len(self._values)} values too many")
