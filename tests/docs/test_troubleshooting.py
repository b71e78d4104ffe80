"""docs/troubleshooting.md and the error tree match: each class has an entry, and each entry a class."""

import re
from collections.abc import Iterator

import pytest

from s3_to_azure.model.errors import PermanentError, TransferError, TransientError
from s3_to_azure.transfer.commit import LeftoverBlocks
from s3_to_azure.transfer.fetched.eligibility import NotFetchable
from tests.docs.pages import text_of

_ENTRY = re.compile(r"^##+ `(\w+)`\n\n((?:>.*\n)*)", re.MULTILINE)


def _below(root: type[TransferError]) -> Iterator[type[TransferError]]:
    yield root
    for each in root.__subclasses__():
        # Other tests may have made classes of their own.
        if each.__module__.startswith("s3_to_azure."):
            yield from _below(each)


_CLASSES = {each.__name__: each for each in _below(TransferError)}
_ENTRIES = {
    match[1]: match[2].removeprefix(">").strip() for match in _ENTRY.finditer(text_of("docs/troubleshooting.md"))
}


def test_every_class_has_an_entry_and_every_entry_a_class() -> None:
    """Each error that a log can show is explained, and each explanation belongs to an error."""
    assert {LeftoverBlocks.__name__, NotFetchable.__name__} <= set(_CLASSES)
    assert sorted(_ENTRIES) == sorted(_CLASSES)


@pytest.mark.parametrize("name", sorted(_CLASSES))
def test_entries_quote_the_message_that_logs_show(name: str) -> None:
    """People search for the words that they see: the quotation is the message's template, … for variable parts."""
    template = _CLASSES[name].template
    sentence = "" if template == TransferError.template else re.sub(r"\{.*?\}", "…", template)
    assert _ENTRIES[name] == sentence


def test_the_page_is_ordered_by_retryability() -> None:
    """Each entry follows the heading of its kind."""
    order = list(_ENTRIES)
    transient, permanent = order.index("TransientError"), order.index("PermanentError")
    for name, cls in _CLASSES.items():
        if issubclass(cls, TransientError):
            assert transient <= order.index(name) < permanent, name
        elif issubclass(cls, PermanentError):
            assert order.index(name) >= permanent, name
