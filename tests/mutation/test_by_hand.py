"""The mutants made by hand fit the code: each changes one place of it, and names tests that exist."""

import ast

import pytest

from tests.mutation.by_hand import PACKAGE, ROOT, Mutant, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: f"{mutant.file}: {mutant.breaks}")
def test_a_mutant_changes_one_place(mutant: Mutant) -> None:
    """Whoever changes that code changes the mutant too, or deletes it with the promise."""
    text = (ROOT / PACKAGE / mutant.file).read_text("utf-8")
    changed = mutant.of(text)
    assert changed != text
    ast.parse(changed)
    assert mutant.tests
    for test in mutant.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).exists()
        assert f"def {name.rpartition('::')[2]}" in (ROOT / path).read_text("utf-8")


def test_no_two_mutants_are_the_same() -> None:
    """Each breaks another promise, or the same one elsewhere."""
    found = mutants()
    assert len({(mutant.file, mutant.breaks) for mutant in found}) == len(found)
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in found}) == len(found)
