"""The Merkle tree gives the roots and paths of RFC 6962, in memory of a few hashes."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.state.merkle import MerkleTree, root_by_path

# The tests of Certificate Transparency's own implementations use these leaves and roots.
LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def tree_of(leaves: Sequence[bytes], *, path_of: int = -1) -> MerkleTree:
    """Return the tree of these leaves, which knows one leaf's path."""
    tree = MerkleTree()
    for index, leaf in enumerate(leaves):
        tree.add(leaf, wants_path=index == path_of)
    return tree


@pytest.mark.parametrize("count", range(9))
def test_roots_are_those_of_other_implementations(count: int) -> None:
    """Another program that knows RFC 6962 finds the same root."""
    assert tree_of(LEAVES[:count]).root().hex() == ROOTS[count]


@pytest.mark.parametrize("count", range(1, 35))
def test_each_leaf_has_a_path_to_the_root(count: int) -> None:
    """The path leads to the root from its own place, and from no other place and to no other number of leaves."""
    leaves = [bytes([number]) for number in range(count)]
    for index in range(count):
        tree = tree_of(leaves, path_of=index)
        path = tree.path()
        assert root_by_path(leaves[index], index, count, path) == tree.root()
        assert tree.path() == path
        for other in range(-1, count + 1):
            found = root_by_path(leaves[index], other, count, path)
            assert (found == tree.root()) is (other == index)
        assert root_by_path(leaves[index], index, count, (*path, tree.root())) is None
        assert root_by_path(b"other", index, count, path) != tree.root()


def test_a_path_of_no_leaf_leads_nowhere() -> None:
    """An empty tree holds nothing."""
    assert root_by_path(b"", 0, 0, ()) is None


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=300))
def test_memory_is_one_hash_for_each_level(leaves: list[bytes]) -> None:
    """The tree keeps no more subtrees than its number of leaves has binary digits."""
    tree = tree_of(leaves, path_of=0)
    assert len(tree._subtrees) == len(leaves).bit_count()
    assert len(tree.path()) == (len(leaves) - 1).bit_length()
