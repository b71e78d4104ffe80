"""The merge join: as good as a dictionary where the order holds, and never wrong where it does not."""

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
def test_in_order_it_is_a_dictionary(wanted: list[str], there: list[str]) -> None:
    """Where both sides ascend, each name is found if and only if it is there, and the rest is counted."""
    join = Join(map(blob, sorted(there)), ordered=True)
    found = {name: join.find(name) for name in sorted(wanted)}
    join.finish()
    assert join.in_order
    assert found == {name: blob(name) if name in there else None for name in wanted}
    assert join.only_there == len(set(there) - set(wanted))
    assert join.seen == len(there)


@given(wanted=NAMES, there=NAMES.flatmap(st.permutations))
def test_out_of_order_nothing_wrong_is_found(wanted: list[str], there: list[str]) -> None:
    """Whatever the order: what is found is that blob; what is not found is not there, or the join says it is unsure."""
    join = Join(map(blob, there), ordered=True)
    found = {name: join.find(name) for name in sorted(wanted)}
    join.finish()
    assert join.in_order == (there == sorted(there))
    for name, its in found.items():
        assert its in (None, blob(name))
        assert its is None or name in there
        if its is None and join.in_order:
            assert name not in there


def test_runs_states_are_not_counted() -> None:
    """What runs keep in the destination container is no blob of the migration."""
    join = Join(map(blob, [f"{STATE_FOLDER}/dag/run/plan.json", "a"]), ordered=True)
    join.finish()
    assert join.only_there == 1


def test_directories_are_no_blobs_that_nobody_asked_for() -> None:
    """The directories of a hierarchical namespace are found like blobs, but not counted as left over."""
    directory = BlobState("a", "etag", 0, "directory", {})
    join = Join([directory, blob("a/b"), replace(directory, name="c")], ordered=True)
    assert join.find("a/b") == blob("a/b")
    assert join.find("c") == replace(directory, name="c")
    join.finish()
    assert join.only_there == 0


def test_without_order_the_destination_is_not_listed() -> None:
    """A source without order asks nothing of the destination."""
    join = Join((pytest.fail("listed") for _ in range(1)), ordered=False)
    assert join.find("a") is None
    join.finish()
    assert not join.in_order
