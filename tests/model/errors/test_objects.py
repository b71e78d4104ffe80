"""Errors of one object: whose they are, and what they show of it."""

from s3_to_azure.model.errors import BlockListRefused, DestinationError, ObjectNotFound, SourceError


def test_names_are_quoted() -> None:
    """A key of strangers cannot begin a line of a log."""
    shown = str(ObjectNotFound(bucket="b", key="a\nb"))
    assert repr("a\nb") in shown
    assert "\n" not in shown


def test_sides_are_told_apart() -> None:
    """Whoever reads an error's class knows on which side to look."""
    assert issubclass(ObjectNotFound, SourceError)
    assert issubclass(BlockListRefused, DestinationError)
    assert not issubclass(SourceError, DestinationError)
