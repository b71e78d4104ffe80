"""Garbage collection is paused during imports, and only then."""

import gc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from s3_to_azure.startup import gc_paused


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """Restore the collector's state after the test."""
    was_on, frozen = gc.isenabled(), gc.get_freeze_count()
    yield
    (gc.enable if was_on else gc.disable)()
    if not frozen:
        gc.unfreeze()


def _import_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imported_by_a_test", ModuleType("imported_by_a_test"))


@pytest.mark.parametrize("is_on", [True, False])
def test_it_is_paused_in_the_block_and_restored_afterwards(*, is_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is off in the block and as before afterwards; the imported modules are frozen."""
    gc.unfreeze()
    (gc.enable if is_on else gc.disable)()
    with gc_paused():
        assert not gc.isenabled()
        _import_something(monkeypatch)
    assert gc.isenabled() is is_on
    assert gc.get_freeze_count() > 0


def test_it_is_restored_after_an_error() -> None:
    """A failed import does not leave the collector off."""
    gc.enable()
    with pytest.raises(ImportError), gc_paused():
        raise ImportError
    assert gc.isenabled()


def test_nothing_is_frozen_without_an_import() -> None:
    """The second task in a process, as in a test run of a DAG, does not keep the garbage of the first."""
    gc.unfreeze()
    with gc_paused():
        pass
    assert gc.get_freeze_count() == 0
