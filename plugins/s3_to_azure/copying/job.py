"""What every kind of copy task offers to the operator."""

from typing import Any, Protocol


class Job(Protocol):
    """What a task copies."""

    listing: bool
    """Whether it is not known yet how much there is."""

    one: tuple[str, str] | None
    """Key and blob of the only object, as far as known; None where there are more."""

    def run(self) -> dict[str, Any]:
        """Copy; return what XCom shall hold."""
        ...
