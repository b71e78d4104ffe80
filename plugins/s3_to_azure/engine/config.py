"""The engine's settings, with their memory and retry bounds as formulas.

Memory: a block is in memory before it is sent, so a task holds at most ``memory_budget_bytes`` of object data
(blocks in flight x block size <= budget), plus about 250 bytes for each block of the objects in flight, and, under
TLS, less than 1 MiB for each connection (``stores/tls_socket.py``).

Retries: a request is tried at most ``attempts`` times here; the SDKs' own retries are off, so nothing multiplies
below. Above, a changed source starts an object again ``source_changes`` times, a commit lists and restages
``commit_rounds`` times, and Airflow runs the task ``retries + 1`` times::

    requests for one block <= attempts x (1 + source_changes) x (1 + commit_rounds) x (Airflow's retries + 1)
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, get_args

from s3_to_azure.engine.checksums import INTEGRITY
from s3_to_azure.engine.errors import WrongUse
from s3_to_azure.engine.fidelity import Fidelity
from s3_to_azure.engine.limits import GIB, KIB, MAX_BLOCK_BYTES, MIB, TIB
from s3_to_azure.engine.model import REFUSED_NAMES, Overwrite, RefusedNames

_MOST_AT_ONCE: Final = 1_000
_SIZE: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([KMGT]i?)?B?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
_DECIMAL: Final = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """How often and how patiently one request is tried.

    Attributes:
        attempts: Tries of one request, the first included.
        first_wait_s: The upper bound of the first wait; it doubles each time, and the wait is drawn below it.
        longest_wait_s: The upper bound of any wait that the service did not ask for itself.
        source_changes: How often a copy starts again because its object changed.
        commit_rounds: How often a refused block list is listed again and completed.
    """

    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    source_changes: int = 2
    commit_rounds: int = 3

    def most_requests_for_a_block(self, *, airflow_retries: int) -> int:
        """Return the product of all budgets: how often a block is asked for at worst, over all tries of its task."""
        return self.attempts * (1 + self.source_changes) * (1 + self.commit_rounds) * (1 + airflow_retries)


@dataclass(frozen=True, slots=True)
class CopySettings:
    """The settings of one task's copies.

    Attributes:
        overwrite: What to do with a blob that is there (``decisions.decide``).
        integrity: ``auto``, the weakest rung to accept, ``reread`` or ``readback`` (``checksums.INTEGRITY``).
        block_bytes: Block size instead of the one by object size; more than 50,000 blocks are never made.
        memory_budget_bytes: Bound of object data in memory.
        objects_at_once: Objects in flight; they share the budget.
        lanes: Most blocks being read, and most being written; how many there really are is found by measuring, and
            the budget may allow fewer (``lanes`` has the formula).
        bandwidth_bytes_s: Most bytes a second that the task reads; None for no limit.
        refused_names: Whether one of many objects whose name cannot be a blob's is ``skip``ped, counts as ``fail``ed,
            or goes to a blob of a ``map``ped name (``name_mapping``); where even that cannot be, it fails.
        fidelity: What becomes of tags, tiers, archived objects and metadata that Azure has no room for.
    """

    overwrite: Overwrite = "if_changed"
    integrity: str = "auto"
    block_bytes: int | None = None
    memory_budget_bytes: int = 256 * MIB
    objects_at_once: int = 8
    lanes: int = 16
    bandwidth_bytes_s: int | None = None
    refused_names: RefusedNames = REFUSED_NAMES
    retry: RetryBudget = RetryBudget()
    fidelity: Fidelity = field(default_factory=Fidelity)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            WrongUse: A value is none of those allowed.
        """
        if self.overwrite not in get_args(Overwrite):
            raise WrongUse(what=f"overwrite={self.overwrite!r} is none of {', '.join(get_args(Overwrite))}.")
        if self.integrity not in INTEGRITY:
            raise WrongUse(what=f"integrity={self.integrity!r} is none of {', '.join(INTEGRITY)}.")
        if self.refused_names not in get_args(RefusedNames):
            raise WrongUse(what=f"refused_names={self.refused_names!r} is none of {', '.join(get_args(RefusedNames))}.")
        if self.block_bytes is not None and not MIB <= self.block_bytes <= MAX_BLOCK_BYTES:
            raise WrongUse(
                what=f"block_size={self.block_bytes} is not between 1 MiB and {MAX_BLOCK_BYTES // MIB:,} MiB."
            )
        if self.memory_budget_bytes < MIB:
            raise WrongUse(what=f"memory_budget={self.memory_budget_bytes} bytes is below 1 MiB.")
        if self.bandwidth_bytes_s is not None and self.bandwidth_bytes_s < 1:
            raise WrongUse(what=f"bandwidth_limit={self.bandwidth_bytes_s} is not at least 1 byte a second.")
        for name in ("objects_at_once", "lanes"):
            value = getattr(self, name)
            if not 1 <= value <= _MOST_AT_ONCE:
                raise WrongUse(what=f"{name}={value} is not between 1 and {_MOST_AT_ONCE:,}.")


def parse_size(text: str | int, *, name: str) -> int:
    """Read a size such as ``256MiB``, ``1.5GB``, ``64M`` (binary) or a number of bytes.

    Args:
        text: The size.
        name: The setting's name, for the error.

    Raises:
        WrongUse: It is no size.
    """
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text.strip())
    # A part of a byte is a slip of the unit.
    if not match or ("." in match[1] and not match[2]):
        raise WrongUse(what=f"{name}={text!r} is not a size. Write for example 256MiB, 1GiB or a number of bytes.")
    unit = (match[2] or "").lower()
    decimal = unit and not unit.endswith("i") and text.strip().lower().endswith("b")
    factor = _DECIMAL[unit] if decimal else _UNITS[unit.removesuffix("i")]
    return int(Decimal(match[1]) * factor)
