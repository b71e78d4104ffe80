"""What the program's exit status says; documented, so scripts rely on it."""

from typing import Final

OK: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
