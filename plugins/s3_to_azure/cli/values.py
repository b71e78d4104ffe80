"""The texts that people type: choices, patterns from a file, and what SRC selects."""

import argparse
import json
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import KIB
from s3_to_azure.model.uris import S3Uri, object_uri, parse_source
from s3_to_azure.stores.presigned.url import PresignedUrl, is_url, parse_url, parse_url_prefix

_MAX_FILTER_BYTES: Final = 1024 * 1024
_STDIN: Final = "-"
_JSON_LINES: Final = ".jsonl"
_MAX_URLS: Final = 10_000
"""The URLs of a list are in memory, at up to 16 KiB each; S3's own have 400 to 2,000 characters."""

_MAX_URL_BYTES: Final = 16 * KIB
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
# What a URL says itself, or cannot do.
_NOT_WITH_URLS: Final = ("inventory", "keys_from", "version_id", "checksums_from", "request_payer")


def choice(values: Collection[str]) -> Callable[[str], str]:
    """Return a reader of one of the values, which may be written with hyphens or in capitals."""

    def read(text: str) -> str:
        same = [value for value in values if value.lower() == text.lower().replace("-", "_")]
        return same[0] if same else text

    return read


def filter_file(path: str) -> tuple[list[str], list[str]]:
    """Return the patterns of ``--filter-from``: those after a ``+``, and those after a ``-``.

    Raises:
        UsageError: The file cannot be read, or a line is not such a pattern.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_FILTER_BYTES + 1)
        lines = data.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(detail=f"--filter-from {path!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise UsageError(detail=f"--filter-from {path!r} is not UTF-8 text.") from None
    if len(data) > _MAX_FILTER_BYTES:
        raise UsageError(detail=f"--filter-from {path!r} is longer than 1 MiB.")
    patterns: dict[str, list[str]] = {"+": [], "-": []}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        sign, space, pattern = line[:1], line[1:2], line[2:]
        if sign not in patterns or space != " " or not pattern:
            raise UsageError(
                detail=f"--filter-from {path!r}, line {number}: write '+ PATTERN' for keys to include, "
                "'- PATTERN' for keys to exclude, or '# text' for a comment."
            )
        patterns[sign].append(pattern)
    return patterns["+"], patterns["-"]


@dataclass(frozen=True, slots=True)
class Selection:
    """What SRC and its options select.

    Attributes:
        source: An object, or a prefix of all objects.
        urls: The URLs that the objects are read by; none: they are read with the environment's credentials.
        keys_from: The file of the keys, if any.
    """

    source: S3Uri
    urls: tuple[PresignedUrl, ...] = ()
    keys_from: str | None = None

    @property
    def is_listed(self) -> bool:
        """Whether the objects are those of a listing, and not named one by one."""
        return self.source.is_prefix and not self.keys_from and not self.urls

    def keys(self) -> Iterator[str] | None:
        """Return the keys of the objects that are named one by one, in order; None if they are listed."""
        if self.keys_from:
            # A copy of one object pays for the import of key lists only here.
            from s3_to_azure.cli.copy_prefix import keys_from_file  # noqa: PLC0415

            return keys_from_file(self.keys_from, self.source)
        if self.urls:
            return iter(sorted(url.key for url in self.urls))
        return None if self.source.is_prefix else iter([self.source.key])


def read_selection(options: argparse.Namespace) -> Selection:
    """Return what SRC and its options select.

    Raises:
        UsageError: SRC is no address, a list cannot be read, or options contradict each other.
    """
    by_url = is_url(options.source)
    if by_url or options.urls_from:
        for name in _NOT_WITH_URLS:
            if getattr(options, name, None):
                option = f"--{name.replace('_', '-')}"
                raise UsageError(detail=f"{option} cannot be used with URLs, which say themselves what is read.")
    if options.urls_from:
        source = (
            parse_url_prefix(options.source, name="SRC", without_tls=options.no_verify_tls)
            if by_url
            else parse_source(options.source, name="SRC")
        )
        if not source.is_prefix:
            raise UsageError(
                detail="With --urls-from, SRC is a bucket or a prefix that ends in '/': all URLs lie below it."
            )
        return Selection(source, _urls_from_file(options.urls_from, source, without_tls=options.no_verify_tls))
    if by_url:
        url = parse_url(options.source, name="SRC", without_tls=options.no_verify_tls)
        return Selection(S3Uri(url.bucket, url.key), (url,))
    return Selection(parse_source(options.source, name="SRC"), keys_from=options.keys_from)


def _urls_from_file(path: str, source: S3Uri, *, without_tls: bool) -> tuple[PresignedUrl, ...]:
    """Return the URLs of ``--urls-from``; of several for one object the one that is valid longest.

    Raises:
        UsageError: The file cannot be read, or a line is not the URL of an object below SRC.
    """
    found: dict[str, PresignedUrl] = {}
    name = "standard input" if path == _STDIN else path
    try:
        with nullcontext(sys.stdin.buffer) if path == _STDIN else closing(Path(path).open("rb")) as file:
            for where, text in _lines(file, name):
                url = parse_url(text, name=where, without_tls=without_tls)
                if url.bucket != source.bucket or not url.key.startswith(source.key):
                    raise UsageError(
                        detail=f"{where} is the URL of {object_uri(url.bucket, url.key)!r}, which is not below SRC, "
                        f"{object_uri(source.bucket, source.key)!r}. Nothing was copied."
                    )
                known = found.get(url.key, url)
                if known.version_id != url.version_id:
                    raise UsageError(detail=f"{where} names another version of {url.key!r} than a line before it.")
                found[url.key] = max(known, url, key=lambda each: each.expires_at or _NEVER)
                if len(found) > _MAX_URLS:
                    raise UsageError(detail=f"{name} has more than {_MAX_URLS:,} URLs: divide it into several lists.")
    except OSError as error:
        raise UsageError(detail=f"--urls-from {path!r} cannot be read: {error.strerror}.") from error
    if not found:
        raise UsageError(detail=f"{name} has no URL.")
    return tuple(found.values())


def _lines(file: BinaryIO, name: str) -> Iterator[tuple[str, str]]:
    """Yield each URL after what errors call it, which never shows the URL."""
    number = 0
    while line := file.readline(_MAX_URL_BYTES + 1):
        number += 1
        where = f"Line {number:,} of {name}"
        if len(line) > _MAX_URL_BYTES:
            raise UsageError(detail=f"{where} is not a URL: it has more than {_MAX_URL_BYTES:,} bytes.")
        text = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace").rstrip("\r\n")
        if text and name.endswith(_JSON_LINES):
            try:
                value: object = json.loads(text)
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, str):
                raise UsageError(detail=f"{where} is not a JSON string.")
            text = value
        if text:
            yield where, text
