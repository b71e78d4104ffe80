"""Runs one history again and prints what happened: ``python -m tests.chaos.replay SEED [TIMES]``, or ``make chaos``."""

import logging
import sys

from tests.chaos.history import History


def main(seed: int, times: int) -> int:
    """Print the history at its first broken promise, or its last time if it breaks none; return the exit status."""
    logging.disable(logging.CRITICAL)
    for _ in range(times):
        world = History(seed).live()
        if world.broken:
            break
    print("\n".join(world.trace))  # noqa: T201
    print(f"{len(world.broken)} promises broken", *world.broken, sep="\n")  # noqa: T201
    return int(bool(world.broken))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
