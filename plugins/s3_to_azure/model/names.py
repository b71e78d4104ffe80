"""Names of buckets, containers and keys, and the names of the blobs that keys are copied to."""

import re
from typing import Final
from urllib.parse import quote, unquote

from s3_to_azure.model.errors import NameRefused, UsageError
from s3_to_azure.model.limits import MAX_BLOB_NAME_CHARACTERS, MAX_BLOB_PATH_SEGMENTS
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.model.reasons import code_of

STATE_FOLDER: Final = "_s3_to_azure"
"""Where runs keep their state in any container. No object is copied below it, and listings leave it out."""

REPORT_NAME: Final = "report.json"
REPORT_CSV_NAME: Final = "report.csv"
REPORT_RECEIPTS_NAME: Final = "receipts.jsonl.gz"
REPORT_FAILURES_NAME: Final = "failures.jsonl.gz"
CERTIFICATE_NAME: Final = "certificate.json"
REPORT_FILES: Final = (REPORT_NAME, REPORT_CSV_NAME, REPORT_RECEIPTS_NAME, REPORT_FAILURES_NAME, CERTIFICATE_NAME)
"""What the report of a run writes at the top of its folder."""

_STATE_PREFIX: Final = f"{STATE_FOLDER}/"
_BUCKET: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html, also of Outposts and Object Lambda
_ACCESS_POINT: Final = re.compile(
    r"arn:aws[a-z-]{0,10}:(?:"
    r"(?:s3|s3-object-lambda):[a-z0-9-]{0,30}:[0-9]{12}:accesspoint[:/][A-Za-z0-9.-]{3,63}"
    r"|s3-outposts:[a-z0-9-]{1,30}:[0-9]{12}:outpost[:/]op-[a-z0-9]{1,32}[:/]accesspoint[:/][A-Za-z0-9-]{3,50})"
    r"(?=/|\Z)"
)
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html: no bucket may end so.
_OBJECT_LAMBDA_END: Final = "--ol-s3"
_ALIAS_ENDS: Final = ("-s3alias", _OBJECT_LAMBDA_END, "--op-s3")
_CONTAINER: Final = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]|\$root|\$web|\$logs")
_MAPPED_CHARACTERS: Final = re.compile(
    r"[\\\x00-\x1f\x7f-\x9f]"  # what Azure changes or refuses
    r"|\.(?=/|\Z)"
    r"|(?<=.)/\Z"
    r"|~(?=[0-9A-F]{2})",
    re.DOTALL,
)
_MAPPED_ESCAPE: Final = re.compile(r"~([0-9A-F]{2})")

# A check of each character in Python would take half the time of a plan; a printable name needs none of these.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")


def folder_name(text: str) -> str:
    """Encode an id as one path segment: all but letters, digits and ``_-~:`` become ``=`` and two hex digits.

    Raises:
        UsageError: The id is empty.
    """
    if not text:
        raise UsageError(detail="A run's state needs a DAG id and a run id.")
    return quote(text, safe=":").replace(".", "%2E").replace("%", "=")


def id_of(folder: str) -> str:
    """Decode a segment made by ``folder_name``."""
    return unquote(folder.replace("=", "%"))


def check_bucket(name: str) -> str:
    """Return the bucket's name if it is valid.

    Raises:
        UsageError: It is not valid; nothing was sent.
    """
    if not _BUCKET.fullmatch(name) and not _ACCESS_POINT.fullmatch(name):
        raise UsageError(
            detail=f"{_without_password(name)!r} is not a bucket name. Give the name alone, or the ARN of an access "
            "point: no s3://, no path, no other ARN."
        )
    return name


def _without_password(name: str) -> str:
    """Return a wrong name without what precedes an @: some tools write keys and passwords there."""
    _, at, rest = name.rpartition("@")
    return f"…@{rest}" if at else name


def is_access_point(bucket: str) -> bool:
    """Return whether requests for this bucket go to an access point, whose own bucket its name does not tell."""
    return bool(_ACCESS_POINT.fullmatch(bucket)) or bucket.endswith(_ALIAS_ENDS)


def changes_objects(bucket: str) -> bool:
    """Return whether it is an access point of S3 Object Lambda, whose function makes the bytes that are read."""
    return is_access_point(bucket) and (":s3-object-lambda:" in bucket or bucket.endswith(_OBJECT_LAMBDA_END))


def split_bucket(text: str) -> tuple[str, str]:
    """Return the bucket and the key of ``bucket/key``; the ARN of an access point, instead, may hold a slash."""
    access_point = _ACCESS_POINT.match(text)
    if access_point:
        return access_point[0], text[access_point.end() + 1 :]
    bucket, _, key = text.partition("/")
    return bucket, key


def check_container(name: str) -> str:
    """Return the container's name if it is valid.

    Raises:
        UsageError: It is not valid; nothing was sent.
    """
    if not _CONTAINER.fullmatch(name):
        raise UsageError(
            detail=f"{_without_password(name)!r} is not a container name: 3 to 63 lower-case letters, digits and "
            "single hyphens."
        )
    return name


def check_blob_prefix(prefix: str) -> str:
    """Return the prefix of the blobs' names if blobs can have it.

    Raises:
        UsageError: It is among the runs' state, or Azure accepts no name that begins with it.
    """
    # Names may begin with dots after the last slash.
    if dot_segment(prefix.rpartition("/")[0]):
        raise UsageError(detail=f"blob_prefix={prefix!r} has a path segment '.' or '..', which is no folder in Azure.")
    if is_reserved(f"{prefix}/"):
        raise UsageError(detail=f"blob_prefix={prefix!r} is below {STATE_FOLDER}/, where runs keep their state.")
    return prefix


def blob_name(key: str, *, s3_prefix: str = "", blob_prefix: str = "", mapped: bool = False) -> str:
    """Return the blob's name for a key: ``blob_prefix`` and the key without ``s3_prefix``.

    Args:
        key: The object's key.
        s3_prefix: Start of the key that the blob's name leaves out.
        blob_prefix: Start of the blob's name.
        mapped: Escape what Azure refuses (``map_blob``).

    Raises:
        UsageError: The key is not below the prefix.
    """
    if not key.startswith(s3_prefix):
        raise UsageError(detail=f"The key {key!r} is not below the prefix {s3_prefix!r}.")
    name = blob_prefix + key[len(s3_prefix) :]
    return map_blob(name) if mapped else name


def is_reserved(blob: str) -> bool:
    """Return whether a blob of this name would lie where runs keep their state."""
    return blob.startswith(_STATE_PREFIX)


def is_folder_marker(listed: ListedObject) -> bool:
    """Return whether the object is a folder marker of a console: empty, and its key ends in a slash."""
    return listed.key.endswith("/") and not listed.size_bytes


def is_shown_only(listed: ListedObject) -> bool:
    """Return whether the key is the text of a name that no request can carry; it has no place in the order of keys."""
    return bool(listed.problem) and code_of(listed.problem) == NameRefused.reason()


def dot_segment(name: str) -> bool:
    """Return whether a path segment is ``.`` or ``..``. HTTP clients rewrite such a path, so it is never sent."""
    return ("/." in name or name.startswith(".")) and any(segment in (".", "..") for segment in name.split("/"))


def problem_with_blob(name: str) -> str | None:
    """Return why Azure does not accept this blob name, or HTTP clients change it; None if it can be used."""
    if not name:
        return "it is empty"
    if len(name) > MAX_BLOB_NAME_CHARACTERS:
        return f"it has {len(name)} characters, and Azure allows {MAX_BLOB_NAME_CHARACTERS}"
    if name.count("/") >= MAX_BLOB_PATH_SEGMENTS:
        return f"it has {name.count('/') + 1} path segments, and Azure allows {MAX_BLOB_PATH_SEGMENTS}"
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
    """Return the blob's name if it can be used.

    Raises:
        NameRefused: Azure does not accept it; nothing was sent.
    """
    problem = problem_with_blob(name)
    if problem:
        raise NameRefused(name=name, detail=problem)
    return name


def check_key(key: str) -> str:
    """Return the key if it can be requested.

    Raises:
        NameRefused: A request for it could reach another object; nothing was sent.
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


def text_of_bytes(name: bytes) -> str:
    """Return a name's text, with ``�%XX`` for each byte that is not UTF-8: different names have different texts."""
    text = name.decode("utf-8", "surrogateescape")
    return _NOT_UTF8.sub(lambda match: f"\N{REPLACEMENT CHARACTER}%{ord(match[0]) - 0xDC00:02X}", text)


def map_blob(name: str) -> str:
    """Return the name with every character that Azure refuses escaped as ``~XX``, reversibly."""
    return _MAPPED_CHARACTERS.sub(lambda match: f"~{ord(match[0]):02X}", name)


def unmap_blob(blob: str) -> str:
    """Undo ``map_blob``."""
    return _MAPPED_ESCAPE.sub(lambda match: chr(int(match[1], 16)), blob)
