"""Option values: each constant is a value of its type, and the command line, the Params and the operator share them."""

from itertools import chain
from typing import get_args

import pytest

from s3_to_azure.model import options
from s3_to_azure.model.checksums import FOLDABLE, MD5, PARTWISE, SERIAL, proven_by
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.objects import SourceChecksum


def test_each_constant_is_an_option_value() -> None:
    """A constant that no option accepts would be refused where it is used."""
    types = (options.Overwrite, options.RefusedNames, options.Archived, options.OversizedMetadata, options.Via)
    values = set(chain.from_iterable(map(get_args, types)))
    assert values == {
        options.IF_CHANGED,
        options.NEVER,
        options.ALWAYS,
        options.FAIL,
        options.SKIP,
        options.MAP,
        options.RESTORE,
        options.DROP,
        options.VIA_WORKER,
        options.VIA_AZURE,
        options.AUTO,
    }


def test_the_levels_are_those_that_a_checksum_reaches() -> None:
    """The names are written without the checksum library; each algorithm's level has its place, the preferred first."""
    full = [proven_by(SourceChecksum(algorithm.name, 1)) for algorithm in FOLDABLE]
    composite = [proven_by(SourceChecksum(algorithm.name, 1, parts=2)) for algorithm in PARTWISE]
    md5, parts = (proven_by(SourceChecksum(MD5.name, 1, parts=parts)) for parts in (0, 2))
    serial = [proven_by(SourceChecksum(algorithm.name, 1)) for algorithm in SERIAL]
    reported = [proven_by(SourceChecksum(algorithm.name, 1, reported=True)) for algorithm in (*FOLDABLE, MD5, *SERIAL)]
    stored = [*full, *composite, md5, *serial, parts]
    assert list(options.VERIFICATION_LEVELS) == [*stored, *reported, "reread", proven_by(None)]


def test_integrity_accepts_every_level() -> None:
    """Beside the levels there are two choices that are none."""
    assert set(options.INTEGRITY) - set(options.VERIFICATION_LEVELS) == {"auto", "readback"}


@pytest.mark.parametrize("value", ["", "Never", "never ", None, 1, True])
def test_another_value_is_refused(value: object) -> None:
    """The error names the option, the value and what is allowed."""
    with pytest.raises(UsageError, match=r"overwrite=.* is not one of if_changed, never, always\."):
        options.check_choice(value, options.OVERWRITE, name="overwrite")


@pytest.mark.parametrize(("value", "near"), [("azur", "azure"), ("Worker", "worker"), ("automatic", "auto")])
def test_a_misspelt_value_is_told_the_nearest(value: str, near: str) -> None:
    """Who writes it almost right need not look it up."""
    with pytest.raises(UsageError, match=rf"via='{value}' is not one of worker, azure, auto\. Did you mean {near}\?"):
        options.check_choice(value, options.VIA, name="via")


def test_an_allowed_value_does_not_raise() -> None:
    """Each of the option's own values passes."""
    for value in options.OVERWRITE:
        options.check_choice(value, options.OVERWRITE, name="overwrite")


def test_the_widths_are_those_of_the_algorithms() -> None:
    """The state files check a checksum's length without the checksum library."""
    widths = [(algorithm.name, algorithm.width_bytes) for algorithm in (*FOLDABLE, MD5, *SERIAL)]
    assert list(options.WIDTHS.items()) == widths
