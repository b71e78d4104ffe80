"""The format version of state files and of the values that tasks pass on, and their validation.

A version is ``major.minor``. Every JSON document has it in its field ``format``; every file of JSON lines has it in
its first line, ``{"format":"1.0"}``, and so does every batch of a plan. A reader

- ignores unknown fields of its own major version: a minor version may only add what an older worker can ignore;
- refuses any other major version with ``UnsupportedStateFormat``;
- reads a file without a version as version 0, in which an unknown field is refused.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from s3_to_azure.model.errors import CorruptState, UnsupportedStateFormat
from s3_to_azure.model.limits import MAX_KEY_BYTES

FORMAT: Final = "1.0"
FIELD: Final = "format"

# Half of a surrogate pair cannot be written as UTF-8.
_UNICODE: Final = r"\A[^\ud800-\udfff]*\Z"
Token = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
# An earlier minor version did not write it.
OptionalSha256 = Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
Text = Annotated[str, Meta(pattern=_UNICODE)]
Prefix = Annotated[Text, Meta(max_length=MAX_KEY_BYTES)]

_MAJOR: Final = FORMAT.partition(".")[0]
_VERSION: Final = re.compile(r"([0-9]{1,4})\.[0-9]{1,4}")

Kind = TypeVar("Kind", bound=msgspec.Struct)


def has_version(found: object, *, path: str) -> bool:
    """Return whether there is a supported version; without any, the file has version 0.

    Args:
        found: The value of ``format``; None or UNSET if there is none.
        path: The file, for the error.

    Raises:
        UnsupportedStateFormat: It has another major version.
        CorruptState: It is not a version.
    """
    if found is None or found is msgspec.UNSET:
        return False
    match = _VERSION.fullmatch(found) if isinstance(found, str) else None
    if not match:
        raise CorruptState(path=path, detail="its format is not a version")
    if match[1] != _MAJOR:
        raise UnsupportedStateFormat(path=path, found=found, supported=FORMAT)
    return True


def with_version(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values with the version in front."""
    return {FIELD: FORMAT, **values}


def read_values(kind: type[Kind], values: object, *, path: str) -> Kind:
    """Read a JSON object that is parsed already.

    Args:
        kind: The names, types and ranges of its fields.
        values: The object; its field ``format`` is not one of ``kind``.
        path: The file, for the error.

    Raises:
        UnsupportedStateFormat: It has another major version.
        CorruptState: It is not an object, or a value is missing, of the wrong type or out of range; in version 0 also
            an unknown field.
    """
    if not isinstance(values, Mapping):
        raise CorruptState(path=path, detail="it is not a JSON object")
    given = {name: value for name, value in values.items() if name != FIELD}
    if not has_version(values.get(FIELD), path=path) and set(given) - set(kind.__struct_fields__):
        raise CorruptState(path=path, detail="it has an unknown field")
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise CorruptState(path=path, detail=f"it is invalid: {without_values(error)}") from None


def without_values(error: msgspec.ValidationError) -> str:
    """Return what is wrong, without the values: they may hold anything."""
    text = str(error)
    if text.startswith("Object contains unknown field"):
        return "unknown field"
    if text.startswith("Invalid enum value"):
        return f"not one of its values{text[text.rfind(' - at ') :] if ' - at `$.' in text else ''}"
    return text
