"""User metadata and tags: from S3's spelling to Azure's, and back."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from s3_to_azure.model.errors import MetadataTooLarge, TagsRefused
from s3_to_azure.model.limits import MAX_METADATA_BYTES, MAX_TAG_KEY, MAX_TAG_VALUE, MAX_TAGS
from s3_to_azure.model.options import FAIL, OversizedMetadata
from s3_to_azure.model.record import RESERVED_NAMES

_METADATA_ESCAPE: Final = re.compile(r"_x([0-9a-f]{4,5}|10[0-9a-f]{4})_", re.IGNORECASE)
# The closing ``_`` of a text that looks like an escape may come from the next character's own escape.
_LOOKS_LIKE_METADATA_ESCAPE: Final = re.compile(r"_x[0-9a-f]{4}", re.IGNORECASE)
_IDENTIFIER_CHARACTER: Final = re.compile(r"[A-Za-z0-9_]")
_UNQUOTED: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%") + " "

_TAG_CHARACTER: Final = re.compile(r"[A-Za-z0-9 +\-./:=]")
_LOOKS_LIKE_TAG_ESCAPE: Final = re.compile(r"_x[0-9a-f]{4}")
_TAG_ESCAPE: Final = re.compile(r"_x([0-9a-f]{4,6})_")


def metadata_to_azure(metadata: Mapping[str, str]) -> dict[str, str]:
    """Map S3 user metadata to Azure's: names to C# identifiers, values to ASCII, both reversibly.

    A character that is not allowed in an identifier becomes ``_xHHHH_``, as .NET's XmlConvert writes names; so does
    the first character of a name that has a meaning in Azure or in the record of a copy. In a value, control
    characters, ``%``, outer spaces and everything beyond ASCII are percent-encoded as UTF-8.
    """
    return {_name_to_azure(name): _value_to_azure(value) for name, value in metadata.items()} if metadata else {}


def metadata_from_azure(metadata: Mapping[str, str]) -> dict[str, str]:
    """Undo ``metadata_to_azure``."""
    return {
        _METADATA_ESCAPE.sub(lambda match: chr(int(match[1], 16)), name): unquote(value)
        for name, value in metadata.items()
    }


def _name_to_azure(name: str) -> str:
    escaped: list[str] = []
    is_reserved = name.lower() in RESERVED_NAMES
    for index, character in enumerate(name):
        not_first = index == 0 and (is_reserved or character.isdigit())
        starts_escape = _LOOKS_LIKE_METADATA_ESCAPE.match(name, index) is not None
        if _IDENTIFIER_CHARACTER.fullmatch(character) and not not_first and not starts_escape:
            escaped.append(character)
        else:
            escaped.append(f"_x{ord(character):04x}_")
    return "".join(escaped)


def _value_to_azure(value: str) -> str:
    inner = value.strip(" ")
    before = len(value) - len(value.lstrip(" ")) if inner else len(value)
    after = len(value) - len(value.rstrip(" ")) if inner else 0
    return "%20" * before + quote(inner, safe=_UNQUOTED) + "%20" * after


def joined_metadata(
    own: Mapping[str, str], user: Mapping[str, str], *, key: str, oversized: OversizedMetadata
) -> tuple[dict[str, str], bool]:
    """Join the object's metadata, as Azure spells it, with the record of its copy, whose names it cannot have.

    Args:
        own: The record.
        user: The object's metadata, as S3 spells it.
        key: The object's key, for the error.
        oversized: What to do if both together do not fit into a blob.

    Returns:
        The metadata, and whether the object's own was dropped.

    Raises:
        MetadataTooLarge: Both together do not fit, and ``oversized`` is ``fail``.
    """
    if not user:
        return dict(own), False
    both = {**metadata_to_azure(user), **own}
    size = sum(len(name) + len(value) for name, value in both.items())
    if size <= MAX_METADATA_BYTES:
        return both, False
    if oversized == FAIL:
        raise MetadataTooLarge(key=key, size=size, limit=MAX_METADATA_BYTES)
    return dict(own), True


def tags_to_azure(tags: Mapping[str, str], *, key: str) -> dict[str, str]:
    """Map S3's tags to blob tags, reversibly: a character that Azure refuses becomes ``_xHHHH_``.

    Raises:
        TagsRefused: There are too many or, once mapped, they are too long.
    """
    mapped = {_tag_text(name): _tag_text(value) for name, value in tags.items()}
    if len(mapped) > MAX_TAGS:
        raise TagsRefused(key=key, detail=f"there are {len(mapped)}, and a blob takes {MAX_TAGS}")
    for name, value in mapped.items():
        if not 1 <= len(name) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            raise TagsRefused(
                key=key,
                detail=f"{name!r} is longer than {MAX_TAG_KEY} characters, or its value than {MAX_TAG_VALUE}",
            )
    return mapped


def tags_from_azure(tags: Mapping[str, str]) -> dict[str, str]:
    """Undo ``tags_to_azure``."""

    def unescaped(text: str) -> str:
        return _TAG_ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)

    return {unescaped(name): unescaped(value) for name, value in tags.items()}


def _tag_text(text: str) -> str:
    escaped = []
    for index, character in enumerate(text):
        looks_escaped = character == "_" and _LOOKS_LIKE_TAG_ESCAPE.match(text, index)
        if looks_escaped or (character != "_" and not _TAG_CHARACTER.fullmatch(character)):
            escaped.append(f"_x{ord(character):04x}_")
        else:
            escaped.append(character)
    return "".join(escaped)
