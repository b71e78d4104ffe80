"""The merge join: equal to a dictionary while the order holds, and never wrong when it does not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.names import STATE_FOLDER
from s3_to_azure.model.objects import BlobState
from s3_to_azure.planning.join import Join

NAMES = st.lists(st.text(alphabet="ab/.-é𝄞￿", min_size=1, max_size=4), unique=True, max_size=30)


def blob(name: str) -> BlobState:
    """Return a blob."""
    return BlobState(name, f"etag of {name}", 1, "BlockBlob", {})


@given(wanted=NAMES, there=NAMES)
def test_in_order_the_join_finds_what_a_dictionary_finds(wanted: list[str], there: list[str]) -> None:
    """If both sides ascend, each name is found if and only if its blob exists, and the other blobs are counted."""
    join = Join(map(blob, sorted(there)), ordered=True)
    found = {name: join.find(name) for name in sorted(wanted)}
    join.finish()
    assert join.in_order
    assert found == {name: blob(name) if name in there else None for name in wanted}
    assert join.only_there == len(set(there) - set(wanted))
    assert join.seen == len(there)


@given(wanted=NAMES, there=NAMES.flatmap(st.permutations))
def test_out_of_order_nothing_wrong_is_found(wanted: list[str], there: list[str]) -> None:
    """In any order a found blob is the right one, and one not found does not exist or ``in_order`` is False."""
    join = Join(map(blob, there), ordered=True)
    found = {name: join.find(name) for name in sorted(wanted)}
    join.finish()
    assert join.in_order == (there == sorted(there))
    for name, its in found.items():
        assert its in (None, blob(name))
        assert its is None or name in there
        if its is None and join.in_order:
            assert name not in there


def test_state_files_are_not_counted() -> None:
    """State files in the destination container are no blobs of the migration."""
    join = Join(map(blob, [f"{STATE_FOLDER}/dag/run/plan.json", "a"]), ordered=True)
    join.finish()
    assert join.only_there == 1


def test_directories_are_found_but_not_counted() -> None:
    """Directories of a hierarchical namespace are found like blobs, but do not count as blobs without an object."""
    directory = BlobState("a", "etag", 0, "directory", {})
    join = Join([directory, blob("a/b"), replace(directory, name="c")], ordered=True)
    assert join.find("a/b") == blob("a/b")
    assert join.find("c") == replace(directory, name="c")
    join.finish()
    assert join.only_there == 0


def test_without_order_the_destination_is_not_listed() -> None:
    """Without order the join could find nothing, so the destination is not listed."""
    join = Join((pytest.fail("listed") for _ in range(1)), ordered=False)
    assert join.find("a") is None
    join.finish()
    assert not join.in_order
