"""docs/troubleshooting.md and the error tree say the same: each class has its entry, each entry its class."""

import re
from collections.abc import Iterator

import pytest

from s3_to_azure.model.errors import PermanentError, TransferError, TransientError
from s3_to_azure.transfer.commit import LeftoverBlocks
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
    """Nothing that a log can say is missing, and nothing is explained that no log can say."""
    assert LeftoverBlocks.__name__ in _CLASSES
    assert sorted(_ENTRIES) == sorted(_CLASSES)


@pytest.mark.parametrize("name", sorted(_CLASSES))
def test_entries_quote_the_sentence_that_logs_show(name: str) -> None:
    """People look for the words they see: the quotation is the template, with … for what changes."""
    says = _CLASSES[name].says
    sentence = "" if says == TransferError.says else re.sub(r"\{.*?\}", "…", says)
    assert _ENTRIES[name] == sentence


def test_the_page_tells_apart_what_a_retry_can_help() -> None:
    """An entry stands behind the heading of its kind, as the page promises."""
    order = list(_ENTRIES)
    transient, permanent = order.index("TransientError"), order.index("PermanentError")
    for name, cls in _CLASSES.items():
        if issubclass(cls, TransientError):
            assert transient <= order.index(name) < permanent, name
        elif issubclass(cls, PermanentError):
            assert order.index(name) >= permanent, name
