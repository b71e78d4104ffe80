"""The collector rests during imports, and only then."""

import gc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from s3_to_azure.startup import gc_paused


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """Leave the collector as it was."""
    was_on, frozen = gc.isenabled(), gc.get_freeze_count()
    yield
    (gc.enable if was_on else gc.disable)()
    if not frozen:
        gc.unfreeze()


def _import_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imported_by_a_test", ModuleType("imported_by_a_test"))


@pytest.mark.parametrize("is_on", [True, False])
def test_rests_and_goes_on(*, is_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off inside the block; afterwards as before, and what was imported is frozen."""
    gc.unfreeze()
    (gc.enable if is_on else gc.disable)()
    with gc_paused():
        assert not gc.isenabled()
        _import_something(monkeypatch)
    assert gc.isenabled() is is_on
    assert gc.get_freeze_count() > 0


def test_goes_on_after_an_error() -> None:
    """An import that fails leaves a working collector."""
    gc.enable()
    with pytest.raises(ImportError), gc_paused():
        raise ImportError
    assert gc.isenabled()


def test_freezes_nothing_but_imports() -> None:
    """A second task in one process, as in a test run of a DAG, keeps no garbage of the first."""
    gc.unfreeze()
    with gc_paused():
        pass
    assert gc.get_freeze_count() == 0
