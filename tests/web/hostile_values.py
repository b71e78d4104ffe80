"""Values that no task of this project stores, and any other task may."""

from typing import Any, Final

EVIL: Final = "<img src=x onerror=alert(1)>"


def _deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


HOSTILE: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    10**300,
    2.5,
    float("nan"),
    float("inf"),
    EVIL,
    "\ud800",
    "x" * 10_000,
    [],
    {},
    _deep(90),
    ["\udfff", None, -1, float("nan"), [[]], {"key": "\ud800", "reason": EVIL, "batch": float("nan")}],
    {"\ud800": 1, EVIL: {"objects": float("nan"), "size_bytes": -1}, "objects": "\ud800", "size_bytes": []},
    [[float("-inf"), float("inf"), 1], [0, 10**300, 10**300], [0, float("inf"), 1], [5, 1, 1], [1, 10**15, 1]],
    [[0, 10**11, 2**62], [-1, 5, 5], [True, True, True], ["0", "1", "2"], [1, 2, -3], [1, 2], 7],
)
