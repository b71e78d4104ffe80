"""The options of the commands, in the groups that ``--help`` shows."""

import argparse
from collections.abc import Sequence
from typing import Final

from s3_to_azure.cli.progress_bar import PROGRESS
from s3_to_azure.cli.values import choice
from s3_to_azure.model import defaults, options

Group = argparse._ArgumentGroup  # noqa: SLF001 - argparse gives this class no public name

DEFAULT_RATE: Final = "200MiB"
_TIME: Final = "such as 24h, 7d, 2026-01-31 (UTC) or 2026-01-31T06:00:00+01:00"


def add_keys(group: Group) -> None:
    """Add what names the objects one by one."""
    group.add_argument(
        "--keys-from",
        metavar="FILE",
        help="take the keys from FILE (- for standard input), one per line; in FILE.jsonl each line is a JSON string; "
        "SRC is a prefix of all of them",
    )
    group.add_argument(
        "--urls-from",
        metavar="FILE",
        help="read the objects by the URLs in FILE (- for standard input), such as presigned ones, one per line; in "
        "FILE.jsonl each line is a JSON string; SRC is a prefix of all of them, s3://bucket/prefix/ or "
        "https://host/prefix/",
    )
    group.add_argument("--version-id", metavar="ID", help="read this version of the object instead of the current one")


def add_checksums_from(group: Group) -> None:
    """Add the report that has checksums which S3 does not store with the objects."""
    group.add_argument(
        "--checksums-from",
        metavar="REPORT",
        help="s3://bucket/job-.../manifest.json of an S3 Batch Operations job that computed checksums; they verify "
        "objects for which S3 stores none",
    )


def add_inventory(group: Group) -> None:
    """Add the inventory that stands for a listing."""
    group.add_argument(
        "--inventory",
        metavar="ADDRESS",
        help="read an S3 Inventory instead of listing SRC: its s3://bucket/.../manifest.json or symlink.txt, or the "
        "folder of its configuration, whose newest one is read",
    )


def add_filters(group: Group) -> None:
    """Add what selects among the objects below a prefix."""
    group.add_argument(
        "--include",
        metavar="PATTERN",
        action="append",
        default=[],
        help="only keys that match, such as '*.csv'; repeatable",
    )
    group.add_argument(
        "--exclude",
        metavar="PATTERN",
        action="append",
        default=[],
        help="no keys that match, even if they are included; repeatable",
    )
    group.add_argument(
        "--filter-from",
        metavar="FILE",
        help="read patterns from FILE, one per line: '+ PATTERN' includes, '- PATTERN' excludes",
    )
    group.add_argument("--min-size", metavar="SIZE", help="only objects of at least this size, such as 1KiB")
    group.add_argument("--max-size", metavar="SIZE", help="only objects of at most this size")
    group.add_argument("--modified-after", metavar="TIME", help=f"only objects modified after this time, {_TIME}")
    group.add_argument("--modified-before", metavar="TIME", help="only objects modified before this time")
    group.add_argument(
        "--storage-class",
        metavar="CLASS",
        action="append",
        default=[],
        help="only objects of this storage class; repeatable",
    )


def add_overwrite(group: Group) -> None:
    """Add the choice of blobs to replace."""
    _add_choice(
        group,
        "--overwrite",
        options.OVERWRITE,
        defaults.OVERWRITE,
        "whether to replace a blob that exists (default: %(default)s, unless it is a copy of this version of the "
        "object)",
    )


def add_integrity(group: Group) -> None:
    """Add the weakest verification level."""
    _add_choice(
        group,
        "--integrity",
        options.INTEGRITY,
        defaults.INTEGRITY,
        "the weakest verification level to accept: one of %(choices)s (default: %(default)s, the "
        "strongest that S3's checksums allow)",
        metavar="LEVEL",
    )


def add_via(group: Group) -> None:
    """Add the way of the bytes."""
    _add_choice(
        group,
        "--via",
        options.VIA,
        defaults.VIA,
        "the way of the bytes: through this worker; fetched by Azure from S3, where objects that it cannot fetch fail; "
        "or auto, fetched where Azure can (default: %(default)s)",
    )


def add_refused_names(group: Group) -> None:
    """Add the choice for names that Azure refuses."""
    _add_choice(
        group,
        "--refused-names",
        options.REFUSED_NAMES,
        defaults.REFUSED_NAMES,
        "objects whose names Azure refuses: fail them, skip them, or map the names to others that the command "
        "`key` turns back (default: %(default)s)",
    )


def add_archived(group: Group) -> None:
    """Add the choice for objects in an archive class."""
    _add_choice(
        group,
        "--archived",
        options.ARCHIVED,
        defaults.ARCHIVED,
        "objects in an archive class: fail them, skip them, or ask S3 to restore them for a later run "
        "(default: %(default)s)",
    )


def add_fidelity(group: Group) -> None:
    """Add what a copy keeps besides bytes and metadata."""
    group.add_argument(
        "--restore-days",
        metavar="N",
        type=int,
        default=defaults.RESTORE_DAYS,
        help="days that a restored object stays readable (default: %(default)s)",
    )
    _add_choice(
        group,
        "--restore-tier",
        options.RESTORE_TIERS,
        defaults.RESTORE_TIER,
        "speed and price of a restore (default: %(default)s)",
    )
    group.add_argument(
        "--tags", action="store_true", help="copy tags too: one more request per object, and more permissions"
    )
    group.add_argument(
        "--tier",
        metavar="CLASS=TIER",
        action="append",
        default=[],
        help="Azure access tier for objects of a storage class, such as STANDARD_IA=Cool; repeatable",
    )
    _add_choice(
        group,
        "--oversized-metadata",
        options.OVERSIZED_METADATA,
        defaults.OVERSIZED_METADATA,
        "objects with more metadata than a blob can hold: fail them, or drop their own metadata (default: %(default)s)",
    )
    add_etag_is_md5(group)


def add_etag_is_md5(group: Group) -> None:
    """Add the reading of ETags."""
    _add_choice(
        group,
        "--etag-is-md5",
        options.ETAG_IS_MD5,
        defaults.ETAG_IS_MD5,
        "whether ETags that look like MD5s are compared with the bytes: auto, as S3's responses say, or no, for a "
        "store whose ETags are not MD5s (default: %(default)s)",
    )


def add_create_container(group: Group, help_text: str = "create the container where it is missing") -> None:
    """Add the choice for a container that is missing."""
    group.add_argument("--create-container", action="store_true", help=help_text)


def add_estimates(group: Group) -> None:
    """Add what a plan's estimates assume."""
    group.add_argument(
        "--max-tasks",
        metavar="N",
        type=int,
        default=defaults.MAX_TASKS,
        help="the most tasks to share the work among (default: %(default)s)",
    )
    group.add_argument(
        "--rate",
        metavar="SIZE",
        default=DEFAULT_RATE,
        help="bytes per second that the time estimate assumes (default: %(default)s)",
    )


def add_limits(group: Group) -> None:
    """Add the limits of a copy."""
    group.add_argument(
        "--objects-at-once",
        metavar="N",
        type=int,
        default=defaults.OBJECTS_AT_ONCE,
        help="the most objects to copy at once; as many are as it takes to use the network (default: %(default)s)",
    )
    group.add_argument(
        "--connections",
        metavar="N",
        type=int,
        default=defaults.CONNECTIONS,
        help="the most blocks to read at once, and to write at once; as many are as bring throughput "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--processes",
        metavar="N",
        type=int,
        default=defaults.PROCESSES,
        help="the most processes that share the work and all limits; many small objects take as many as there are "
        "cores, all others one (default: %(default)s)",
    )
    group.add_argument(
        "--memory-budget",
        metavar="SIZE",
        default=defaults.MEMORY_BUDGET,
        help="the most memory for object data (default: %(default)s)",
    )
    group.add_argument("--block-size", metavar="SIZE", help="such as 32MiB (default: by the object's size)")
    group.add_argument(
        "--bandwidth-limit",
        metavar="SIZE",
        help="the most bytes per second, such as 50MB/s or 50MiB (default: no limit)",
    )


def add_objects_at_once(group: Group) -> None:
    """Add the limit of objects at once to a command that copies nothing."""
    group.add_argument(
        "--objects-at-once",
        metavar="N",
        type=int,
        default=defaults.LOOKED_AT_AT_ONCE,
        help="the most objects to work on at once (default: %(default)s)",
    )


def add_access(group: Group) -> None:
    """Add what concerns the access to both services."""
    group.add_argument("--no-sign-request", action="store_true", help="read a public bucket without credentials")
    group.add_argument("--request-payer", action="store_true", help="pay for the requests to a requester-pays bucket")
    group.add_argument("--no-verify-tls", action="store_true", help="accept any TLS certificate (for tests only)")


def add_max_errors(group: Group) -> None:
    """Add the limit of failures."""
    group.add_argument(
        "--max-errors", metavar="N", type=int, help="stop after this many objects have failed (default: no limit)"
    )


def add_output(group: Group, *, json: str, shows_progress: bool = False) -> None:
    """Add what is shown, and where."""
    group.add_argument("--json", action="store_true", help=f"print {json}, and nothing else on standard output")
    if shows_progress:
        _add_choice(
            group,
            "--progress",
            PROGRESS,
            PROGRESS[0],
            "how to show progress on standard error: a bar, a line every 10 s, a JSON document every second, or "
            "auto, a bar on a terminal and lines elsewhere (default: %(default)s)",
        )
    group.add_argument(
        "-q", "--quiet", action="store_true", help="show errors only: no progress, no line per object, no summary"
    )
    group.add_argument("-v", "--verbose", action="count", default=0, help="log each step; -vv logs each request")
    group.add_argument("--log-file", metavar="FILE", help="append the log to FILE, each step at least")


def _add_choice(
    group: Group, name: str, values: Sequence[str], default: str, help_text: str, *, metavar: str | None = None
) -> None:
    """Add an option whose value is one of several words, in any spelling that ``choice`` reads."""
    group.add_argument(name, type=choice(values), choices=values, default=default, help=help_text, metavar=metavar)
