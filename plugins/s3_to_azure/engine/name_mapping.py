"""Blob names for keys that Azure refuses: mapped so that no two keys share a blob, and back; no I/O.

The escape of a character is ``~`` and the two upper-case hex digits of its code point. Escaped are:

- a backslash and control characters, wherever they are;
- the last dot of a path segment that ends in one (``.`` and ``..`` too);
- the slash at the end of the name;
- a ``~`` that two upper-case hex digits follow, so that it is never read as an escape.

All else stays: ``a/b~c.txt~`` is its own blob. What has no such spelling (an empty name, one that is too long, half a
surrogate pair) stays as it is and is refused.
"""

import re
from typing import Final

_ESCAPED: Final = re.compile(
    r"[\\\x00-\x1f\x7f-\x9f]"  # what Azure turns into something else, or refuses
    r"|\.(?=/|\Z)"
    r"|(?<=.)/\Z"
    r"|~(?=[0-9A-F]{2})",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"~([0-9A-F]{2})")


def map_blob(name: str) -> str:
    """Return the blob name for a name; the same name where nothing needs to be escaped."""
    return _ESCAPED.sub(lambda match: f"~{ord(match[0]):02X}", name)


def unmap_blob(blob: str) -> str:
    """Undo ``map_blob``."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), blob)
