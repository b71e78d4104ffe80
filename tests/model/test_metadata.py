"""User metadata and tags: whatever S3 holds, Azure accepts it, and it comes back unchanged."""

import re
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from s3_to_azure.model.errors import MetadataTooLarge, TagsRefused
from s3_to_azure.model.limits import MAX_METADATA_BYTES
from s3_to_azure.model.metadata import (
    joined_metadata,
    metadata_from_azure,
    metadata_to_azure,
    tags_from_azure,
    tags_to_azure,
)
from s3_to_azure.model.record import RESERVED_NAMES

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Characters of escapes, so that hypothesis finds names that look like one.
tricky_names = st.text(alphabet="_x04f-.A1", min_size=1, max_size=24) | st.sampled_from(sorted(RESERVED_NAMES))
header_names = st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


@given(st.dictionaries(st.one_of(tricky_names, header_names, st.text(min_size=1, max_size=8)), st.text(max_size=30)))
def test_metadata_comes_back(metadata: dict[str, str]) -> None:
    """Any names and values become what Azure accepts, and come back."""
    assume(all(not any(0xD800 <= ord(c) <= 0xDFFF for c in text) for item in metadata.items() for text in item))
    azure = metadata_to_azure(metadata)
    assert metadata_from_azure(azure) == metadata
    assert len(azure) == len(metadata)
    for name, value in azure.items():
        assert IDENTIFIER.fullmatch(name), name
        assert value.isascii()
        assert value.isprintable()
        assert value == value.strip(" ")


@given(st.dictionaries(st.text(alphabet="_x04f-.a1", min_size=1, max_size=20), st.just("v"), min_size=1))
def test_metadata_names_survive_lower_casing(metadata: dict[str, str]) -> None:
    """S3's names are lower case; Azure compares without case and may answer in another case."""
    azure = metadata_to_azure(metadata)
    assert metadata_from_azure({name.lower(): value for name, value in azure.items()}) == metadata
    lower_in_answer = {name.upper() if "_x" in name.lower() else name: value for name, value in azure.items()}
    back = metadata_from_azure(lower_in_answer)
    assert {name.lower(): value for name, value in back.items()} == metadata


@given(st.dictionaries(st.text(alphabet="_x04f-.a1", min_size=1, max_size=20), st.just("v")))
def test_metadata_names_stay_apart(metadata: dict[str, str]) -> None:
    """No two names become one for a service that compares without case."""
    assert len({name.lower() for name in metadata_to_azure(metadata)}) == len(metadata)


@pytest.mark.parametrize(
    ("name", "azure"),
    [
        ("plain", "plain"),
        ("my-key", "my_x002d_key"),
        ("1abc", "_x0031_abc"),
        ("a.b", "a_x002e_b"),
        ("_x0041_", "_x005f_x0041_"),
        ("_x0041-", "_x005f_x0041_x002d_"),
        ("a1", "a1"),
    ],
)
def test_metadata_names(name: str, azure: str) -> None:
    """A plain name stays readable, and a name that looks like an escape is escaped itself."""
    assert metadata_to_azure({name: ""}) == {azure: ""}


@pytest.mark.parametrize(
    ("value", "azure"),
    [
        ("plain text, with: punctuation/&=?", "plain text, with: punctuation/&=?"),
        ("100%", "100%25"),
        ("X marks X", "X marks X"),
        (" padded  ", "%20padded%20%20"),
        ("   ", "%20%20%20"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("two\nlines\r\0", "two%0Alines%0D%00"),
        ("tab\t", "tab%09"),
        ("", ""),
    ],
)
def test_metadata_values(value: str, azure: str) -> None:
    """A plain value stays readable; what breaks a header or is trimmed by Azure is escaped."""
    assert metadata_to_azure({"n": value}) == {"n": azure}


def test_foreign_metadata_is_read_without_error() -> None:
    """Metadata that another tool wrote may hold anything."""
    assert metadata_from_azure({"_xffffff_": "%ZZ%E6"}).keys() == {"_xffffff_"}


@pytest.mark.parametrize(("over", "dropped"), [(0, False), (1, True)])
def test_metadata_is_kept_up_to_azures_limit(over: int, dropped: bool) -> None:
    """Names and values together may take 8 KB; one byte more is dropped or refused."""
    user = {"a": "v" * (MAX_METADATA_BYTES - len("a") - len("ownvalue") + over)}
    metadata, was_dropped = joined_metadata({"own": "value"}, user, key="k", oversized="drop")
    assert was_dropped is dropped
    assert metadata == ({"own": "value"} if dropped else {**user, "own": "value"})


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_no_object_can_write_a_name_with_a_meaning(name: str, case: Callable[[str], str]) -> None:
    """An object's own metadata of such a name gets another one, also where the record lacks it, and is not lost."""
    user = {case(name): "forged"}
    metadata, _ = joined_metadata({"s3_etag": "e"}, user, key="k", oversized="fail")
    assert metadata.pop("s3_etag") == "e"
    assert not {each.lower() for each in metadata} & RESERVED_NAMES
    assert metadata_from_azure(metadata) == user


def test_oversized_metadata_is_refused_unless_it_may_be_dropped() -> None:
    """The error names the option that drops it."""
    with pytest.raises(MetadataTooLarge, match="oversized_metadata=drop"):
        joined_metadata({}, {"a": "v" * MAX_METADATA_BYTES}, key="k", oversized="fail")


@given(st.dictionaries(st.text("aé@_x04/ 🙂", min_size=1, max_size=8), st.text("aé@_x04", max_size=8), max_size=10))
def test_tags_come_back(tags: dict[str, str]) -> None:
    """Every tag comes back, so no two tags become one."""
    mapped = tags_to_azure(tags, key="k")
    assert len(mapped) == len(tags)
    assert tags_from_azure(mapped) == tags
    assert all(character.isascii() for name in mapped for character in name)


@pytest.mark.parametrize("tags", [{"é" * 100: "x"}, {"a": "@" * 200}, {str(n): "x" for n in range(11)}])
def test_tags_beyond_azures_limits_are_refused(tags: dict[str, str]) -> None:
    """Too many tags, or a tag that is too long once it is escaped."""
    with pytest.raises(TagsRefused, match="without tags"):
        tags_to_azure(tags, key="k")
