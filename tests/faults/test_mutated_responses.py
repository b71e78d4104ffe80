"""The command line between services whose responses are mutated: right bytes and true receipts, or a clear error."""

import pytest

from tests.fakes.mutated_command import MutatedCommand
from tests.fakes.mutated_documents import Xml
from tests.fakes.mutated_stores import ANY, Kind, Mutated, Scenario, check_examples
from tests.fakes.mutations import (
    HTML,
    Chunked,
    Lines,
    Page,
    Stray,
)

PREFIXES = ("prefix", "read back", "tags")

S3_KINDS = (
    Kind("list", (*PREFIXES, "verify"), ANY),
    Kind("head", ("prefix", "key small", "key large", "key empty", "key md5 of parts", "verify")),
    Kind("get", (*PREFIXES, "key small", "key large")),
    Kind("part", ("prefix", "key md5 of parts", "verify")),
    Kind("attributes", ("prefix", "key crc of parts", "verify")),
    Kind("tags", ("tags",)),
    Kind("head bucket", (*PREFIXES, "verify", "key small")),
)
AZURE_KINDS = (
    Kind("head", ("key small", "key large", "key empty", "verify", "prefix"), ANY),
    Kind("get block list", ("prefix", "key large")),
    Kind("put block", ("prefix", "key large")),
    Kind("put block list", ("prefix", "key large", "read back")),
    Kind("put blob", ("prefix", "key small", "key empty")),
    Kind("set metadata", ("prefix",), ("dated",)),
    Kind("set properties", ("prefix",), ("dated",)),
    Kind("get", ("read back", "verify"), ("nothing", "older")),
    Kind("list", PREFIXES, ANY),
    Kind("account", ("prefix", "key large")),
)
KINDS = {"s3": S3_KINDS, "azure": AZURE_KINDS}


@pytest.mark.parametrize("service", KINDS)
def test_mutated_responses_in_a_sample(service: str, mutated_command: MutatedCommand) -> None:
    """Six mutations of each service's responses."""
    check_examples(service, KINDS[service], 6, mutated_command.check_stores)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("service", KINDS)
def test_mutated_responses(service: str, mutated_command: MutatedCommand) -> None:
    """Each gives right bytes and a true receipt, or a clear error: no traceback, no hang, no object unaccounted for."""
    check_examples(service, KINDS[service], 200, mutated_command.check_stores)


# -- what was found ----------------------------------------------------------------------------------------------------

FOUND = {
    "a line that is no header": Scenario(Mutated("s3", "tags", (Lines("no colon"),)), "tags"),
    "a header without a name": Scenario(Mutated("azure", "list", (Lines("no name"),)), "prefix"),
    "a body that ends before its last chunk": Scenario(Mutated("s3", "list", (Chunked("no last chunk"),)), "prefix"),
    "the listing of another prefix": Scenario(Mutated("s3", "list", (Stray(),)), "prefix"),
    "a listing without one of its objects": Scenario(Mutated("s3", "list", (Xml("without", "Contents"),)), "prefix"),
    "an object in another namespace": Scenario(
        Mutated("s3", "list", (Xml("element in another namespace", "Contents"),)), "prefix"
    ),
    "an object outside of the prefix": Scenario(Mutated("s3", "list", (Xml("text", "Key", "small"),)), "prefix"),
    "a last page that has a next one": Scenario(
        Mutated("s3", "list", (Xml("text", "IsTruncated", "false"),)), "prefix"
    ),
    "a 404 of somebody else": Scenario(Mutated("azure", "head", (Page(404, HTML),)), "verify", "same"),
}
"""Examples that gave a traceback, a wrong receipt or an object without one, or blamed the wrong thing."""


@pytest.mark.parametrize("name", FOUND)
def test_mutated_response_that_was_believed(name: str, mutated_command: MutatedCommand) -> None:
    """None of them is believed any more."""
    mutated_command.check_run(FOUND[name])
