"""The Merkle tree of RFC 6962 over a sequence of texts: its root, the path of one leaf, and the check of a path.

https://www.rfc-editor.org/rfc/rfc6962#section-2.1
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class _Subtree:
    """A complete subtree; its number of leaves is a power of two.

    Attributes:
        leaves: Number of its leaves.
        root: Its hash.
        is_on_path: Whether it holds the leaf whose path is wanted.
    """

    leaves: int
    root: bytes
    is_on_path: bool


class MerkleTree:
    """Takes the leaves one after the other and keeps one hash for each level, so memory grows with the logarithm.

    Attributes:
        leaves: Number of leaves.
    """

    def __init__(self) -> None:
        self.leaves = 0
        self._subtrees: list[_Subtree] = []
        self._path: list[bytes] = []

    def add(self, leaf: bytes, *, wants_path: bool = False) -> None:
        """Append a leaf.

        Args:
            leaf: Its bytes.
            wants_path: ``path`` returns the path of this leaf; of one at most.
        """
        self.leaves += 1
        self._subtrees.append(_Subtree(1, sha256(_LEAF + leaf).digest(), wants_path))
        while len(self._subtrees) > 1 and self._subtrees[-1].leaves == self._subtrees[-2].leaves:
            right, left = self._subtrees.pop(), self._subtrees.pop()
            self._subtrees.append(_joined(left, right, self._path))

    def root(self) -> bytes:
        """Return the hash of all leaves so far; that of no leaf is the hash of nothing."""
        return self._whole([])

    def path(self) -> tuple[bytes, ...]:
        """Return the hashes beside the wanted leaf's way to the root, from the bottom."""
        path = list(self._path)
        self._whole(path)
        return tuple(path)

    def _whole(self, path: list[bytes]) -> bytes:
        if not self._subtrees:
            return sha256().digest()
        *left_ones, whole = self._subtrees
        for left in reversed(left_ones):
            whole = _joined(left, whole, path)
        return whole.root


def _joined(left: _Subtree, right: _Subtree, path: list[bytes]) -> _Subtree:
    """Return the subtree of both; add to the path the one that is beside it."""
    if left.is_on_path:
        path.append(right.root)
    elif right.is_on_path:
        path.append(left.root)
    root = sha256(_NODE + left.root + right.root).digest()
    return _Subtree(left.leaves + right.leaves, root, left.is_on_path or right.is_on_path)


def root_by_path(leaf: bytes, index: int, leaves: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root of the tree that has this leaf at this place; None if the path has another length.

    Args:
        leaf: The leaf's bytes.
        index: Its place, from 0.
        leaves: Number of leaves of the tree.
        path: From ``MerkleTree.path``.
    """
    # One bit for each level: whether the subtree of that level is its parent's right one.
    is_right = []
    while leaves > 1:
        of_left = 1 << (leaves - 1).bit_length() - 1
        is_right.append(index >= of_left)
        index, leaves = (index - of_left, leaves - of_left) if index >= of_left else (index, of_left)
    if (index, leaves, len(path)) != (0, 1, len(is_right)):
        return None
    root = sha256(_LEAF + leaf).digest()
    for beside, right in zip(path, reversed(is_right), strict=True):
        root = sha256(_NODE + (beside + root if right else root + beside)).digest()
    return root
