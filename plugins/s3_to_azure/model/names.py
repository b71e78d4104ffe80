"""Names: of blobs for keys, and of metadata in both services; no I/O."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from s3_to_azure.model.errors import NameRefused, UsageError
from s3_to_azure.model.limits import MAX_BLOB_NAME_CHARACTERS, MAX_BLOB_PATH_SEGMENTS
from s3_to_azure.model.objects import ListedObject

STATE_FOLDER: Final = "_s3_to_azure"
"""Where runs keep their state, in whichever container; no object is copied below it, and no listing counts it."""

_BUCKET: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_CONTAINER: Final = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]|\$root|\$web|\$logs")
_ESCAPE: Final = re.compile(r"_x([0-9a-f]{4,5}|10[0-9a-f]{4})_", re.IGNORECASE)
# The closing ``_`` may come from the next character's own escape.
_STARTS_LIKE_ESCAPE: Final = re.compile(r"_x[0-9a-f]{4}", re.IGNORECASE)
# By the character in Python, these checks would be half the time of a plan; what is printable needs none of them.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_]")
_VISIBLE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%") + " "


def check_bucket(name: str) -> str:
    """Return the bucket's name.

    Raises:
        UsageError: No bucket can have it; nothing was sent.
    """
    if not _BUCKET.fullmatch(name):
        raise UsageError(detail=f"{name!r} is not a bucket name. Give the name alone: no s3://, no path, no ARN.")
    return name


def check_container(name: str) -> str:
    """Return the container's name.

    Raises:
        UsageError: No container can have it; nothing was sent.
    """
    if not _CONTAINER.fullmatch(name):
        raise UsageError(
            detail=f"{name!r} is not a container name: 3 to 63 lower-case letters, digits and single hyphens."
        )
    return name


def blob_name(key: str, *, s3_prefix: str = "", blob_prefix: str = "", mapped: bool = False) -> str:
    """Return the blob's name for a key: ``blob_prefix`` and the key without ``s3_prefix``.

    Args:
        key: The object's.
        s3_prefix: What the name leaves out.
        blob_prefix: What it begins with instead.
        mapped: Spell what Azure refuses in another way (``name_mapping``).

    Raises:
        UsageError: The key is not below the prefix.
    """
    if not key.startswith(s3_prefix):
        raise UsageError(detail=f"The key {key!r} is not below the prefix {s3_prefix!r}.")
    name = blob_prefix + key[len(s3_prefix) :]
    return map_blob(name) if mapped else name


def is_folder_marker(listed: ListedObject) -> bool:
    """Say whether the object only makes a folder in a console: an empty one whose key ends in a slash."""
    return listed.key.endswith("/") and not listed.size_bytes


def dot_segment(name: str) -> bool:
    """Say whether a path segment is ``.`` or ``..``: HTTP clients rewrite such a path, so it is never sent."""
    return "." in name and any(segment in (".", "..") for segment in name.split("/"))


def problem_with_blob(name: str) -> str | None:
    """Return why Azure, or the way there, does not take this blob name; None where it does."""
    if not name:
        return "it is empty"
    if len(name) > MAX_BLOB_NAME_CHARACTERS:
        return f"it has {len(name)} characters, Azure allows {MAX_BLOB_NAME_CHARACTERS}"
    if name.count("/") >= MAX_BLOB_PATH_SEGMENTS:
        return f"it has {name.count('/') + 1} path segments, Azure allows {MAX_BLOB_PATH_SEGMENTS}"
    if dot_segment(name):
        return "a path segment is '.' or '..', which HTTP clients rewrite into another path"
    if "./" in name or name.endswith("."):
        return "a path segment ends in a dot, which Azure drops"
    if name.endswith("/"):
        return "it ends in a slash"
    if "\\" in name:
        return "it has a backslash, which Azure turns into a slash"
    return None if name.isprintable() else _problem_with_characters(name)


def _problem_with_characters(name: str) -> str | None:
    if _CONTROL.search(name):
        return "it has a control character"
    if _SURROGATE.search(name):
        return "it is not valid Unicode"
    return None


def check_blob(name: str) -> str:
    """Return the blob's name.

    Raises:
        NameRefused: Azure does not take it; nothing was sent.
    """
    problem = problem_with_blob(name)
    if problem:
        raise NameRefused(name=name, detail=problem)
    return name


def check_key(key: str) -> str:
    """Return the key.

    Raises:
        NameRefused: A GET for it could reach another object; nothing was sent.
    """
    if not key:
        raise NameRefused(name=key, detail="it is empty")
    if dot_segment(key):
        raise NameRefused(
            name=key, detail="a path segment is '.' or '..', which HTTP clients rewrite into another path"
        )
    if not key.isprintable() and _SURROGATE.search(key):
        raise NameRefused(name=key, detail="it is not valid Unicode")
    return key


def metadata_to_azure(metadata: Mapping[str, str]) -> dict[str, str]:
    """Map S3 user metadata to Azure's: names to C# identifiers, values to ASCII, both reversibly.

    A character that an identifier cannot have becomes ``_xHHHH_`` (as .NET's XmlConvert writes names); control
    characters, ``%``, outer spaces and all beyond ASCII in a value are percent-encoded as UTF-8.
    """
    return {_name_to_azure(name): _value_to_azure(value) for name, value in metadata.items()} if metadata else {}


def metadata_from_azure(metadata: Mapping[str, str]) -> dict[str, str]:
    """Undo ``metadata_to_azure``."""
    return {_ESCAPE.sub(lambda match: chr(int(match[1], 16)), name): unquote(value) for name, value in metadata.items()}


def _name_to_azure(name: str) -> str:
    escaped: list[str] = []
    for index, character in enumerate(name):
        first_digit = index == 0 and character.isdigit()
        starts_escape = _STARTS_LIKE_ESCAPE.match(name, index) is not None
        if _PLAIN.fullmatch(character) and not first_digit and not starts_escape:
            escaped.append(character)
        else:
            escaped.append(f"_x{ord(character):04x}_")
    return "".join(escaped)


def _value_to_azure(value: str) -> str:
    inner = value.strip(" ")
    before = len(value) - len(value.lstrip(" ")) if inner else len(value)
    after = len(value) - len(value.rstrip(" ")) if inner else 0
    return "%20" * before + quote(inner, safe=_VISIBLE) + "%20" * after


_MAPPED_CHARACTERS: Final = re.compile(
    r"[\\\x00-\x1f\x7f-\x9f]"  # what Azure turns into something else, or refuses
    r"|\.(?=/|\Z)"
    r"|(?<=.)/\Z"
    r"|~(?=[0-9A-F]{2})",
    re.DOTALL,
)
_MAPPED_ESCAPE: Final = re.compile(r"~([0-9A-F]{2})")


def map_blob(name: str) -> str:
    """Return the blob name for a name; the same name where nothing needs to be escaped."""
    return _MAPPED_CHARACTERS.sub(lambda match: f"~{ord(match[0]):02X}", name)


def unmap_blob(blob: str) -> str:
    """Undo ``map_blob``."""
    return _MAPPED_ESCAPE.sub(lambda match: chr(int(match[1], 16)), blob)
