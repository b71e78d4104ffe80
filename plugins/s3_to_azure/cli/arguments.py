"""The commands with their options, as ``--help`` and the documentation tell them."""

import argparse
import threading
from collections.abc import Callable
from typing import Final

from s3_to_azure import __version__
from s3_to_azure.cli.commands import copy, keys_of, plan, verify
from s3_to_azure.model import defaults, options

_DESCRIPTION: Final = """\
Copy objects from AWS S3 to Azure Blob Storage: streamed, proven, resumable.

SRC  s3://bucket/key         one object
     s3://bucket/prefix/     all objects below (also s3://bucket)
DST  az://container/blob     the blob's name; for many objects, or ending in "/", the prefix below which they go
     https://account.blob.core.windows.net/container/blob

Credentials come from the usual places: boto3's chain for S3 (AWS_ENDPOINT_URL too); for Azure
AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or
DefaultAzureCredential; S3_SSE_CUSTOMER_KEY (base64) for objects under a customer key. A copy that was interrupted
sends only what is missing when it is run again.
"""
_EPILOG: Final = "Exit status: 0 every object is accounted for, 1 something failed, 2 wrong use or configuration."


def command_line() -> argparse.ArgumentParser:
    """Return the parser of all commands; the documentation reads it too."""
    parser = argparse.ArgumentParser(
        prog="s3-to-azure",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    copying = _command(commands, "copy", copy, "copy what is new or changed, prove it, print a receipt for each object")
    copying.add_argument(
        "--overwrite",
        choices=options.OVERWRITE,
        default=defaults.OVERWRITE,
        help="what to do where a blob is there already (default: %(default)s: copy unless it is this very version)",
    )
    copying.add_argument(
        "--integrity",
        choices=options.INTEGRITY,
        default=defaults.INTEGRITY,
        help="the weakest proof to accept (default: %(default)s: the strongest that S3's checksums allow)",
    )
    copying.add_argument("--block-size", metavar="SIZE", help="block size, such as 32MiB (default: by object size)")
    copying.add_argument(
        "--memory-budget",
        metavar="SIZE",
        default=defaults.MEMORY_BUDGET,
        help="most object data in memory (default: %(default)s)",
    )
    copying.add_argument(
        "--connections",
        metavar="N",
        type=int,
        default=defaults.CONNECTIONS,
        help="most blocks read, and most written, at once (default: %(default)s)",
    )
    copying.add_argument(
        "--processes",
        metavar="N",
        type=int,
        default=defaults.PROCESSES,
        help="processes that share the work and all limits (default: %(default)s; many small objects: one a core)",
    )
    copying.add_argument(
        "--bandwidth-limit", metavar="SIZE", help="most bytes a second, such as 50MiB (default: no limit)"
    )
    _add_filters(copying)
    _add_fidelity(copying)
    copying.add_argument("--create-container", action="store_true", help="make the container if it is missing")
    planning = _command(commands, "plan", plan, "say what a copy would do and cost; nothing is moved")
    planning.add_argument("--overwrite", choices=options.OVERWRITE, default=defaults.OVERWRITE, help="as for copy")
    _add_archived(planning)
    _add_filters(planning)
    planning.add_argument(
        "--max-tasks", metavar="N", type=int, default=defaults.MAX_TASKS, help="most batches (default: %(default)s)"
    )
    planning.add_argument(
        "--rate", metavar="SIZE", default="200MB", help="bytes a second to reckon with (default: %(default)s)"
    )
    _command(commands, "verify", verify, "read blobs back from Azure and compare them with S3's checksums")
    naming = commands.add_parser("key", help="undo --refused-names=map: print the keys of blobs' names")
    naming.add_argument("blobs", metavar="BLOB", nargs="+", help="the blob's name, without DST's prefix")
    naming.set_defaults(command=keys_of, verbose=0)
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--include", metavar="PATTERN", action="append", default=[], help="only keys like this")
    parser.add_argument("--exclude", metavar="PATTERN", action="append", default=[], help="no keys like this")
    parser.add_argument("--min-size", metavar="SIZE", help="no objects below this size, such as 1KiB")
    parser.add_argument("--max-size", metavar="SIZE", help="no objects above this size")
    moment = "such as 2026-01-31T00:00:00+00:00"
    parser.add_argument("--modified-after", metavar="MOMENT", help=f"only objects modified after it, {moment}")
    parser.add_argument("--modified-before", metavar="MOMENT", help="only objects modified before it")
    parser.add_argument(
        "--storage-class",
        metavar="CLASS",
        action="append",
        default=[],
        help="only this class of objects; repeatable",
    )


def _add_archived(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--archived",
        choices=options.ARCHIVED,
        default=defaults.ARCHIVED,
        help="what to do with archived objects (default: %(default)s; restore: ask S3, and copy in a later run)",
    )


def _add_fidelity(parser: argparse.ArgumentParser) -> None:
    _add_archived(parser)
    parser.add_argument(
        "--restore-days",
        metavar="N",
        type=int,
        default=defaults.RESTORE_DAYS,
        help="how long a restored object stays (default: %(default)s)",
    )
    parser.add_argument(
        "--restore-tier",
        choices=options.RESTORE_TIERS,
        default=defaults.RESTORE_TIER,
        help="how fast S3 restores (default: %(default)s)",
    )
    parser.add_argument("--tags", action="store_true", help="copy tags too (a request each, and permissions)")
    parser.add_argument(
        "--tier",
        metavar="CLASS=TIER",
        action="append",
        default=[],
        help="access tier for objects of a storage class, such as STANDARD_IA=Cool; may be repeated",
    )
    parser.add_argument(
        "--oversized-metadata",
        choices=options.OVERSIZED_METADATA,
        default=defaults.OVERSIZED_METADATA,
        help="what to do where metadata is more than a blob holds (default: %(default)s)",
    )


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    function: Callable[[argparse.Namespace, threading.Event], int],
    summary: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=_DESCRIPTION.replace("Copy objects", summary[0].upper() + summary[1:] + ".\n\nCopy objects", 1),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("destination", metavar="DST")
    parser.add_argument(
        "--keys-from",
        metavar="FILE",
        help="take the keys from FILE, one a line (JSON texts in FILE.jsonl; - for stdin); all must lie below SRC",
    )
    parser.add_argument(
        "--objects-at-once",
        metavar="N",
        type=int,
        default=defaults.OBJECTS_AT_ONCE,
        help="objects in flight (default: %(default)s)",
    )
    parser.add_argument(
        "--refused-names",
        choices=options.REFUSED_NAMES,
        default=defaults.REFUSED_NAMES,
        help="what to do with names that Azure refuses (default: %(default)s; map: spell them with ~XX, see `key`)",
    )
    parser.add_argument("--no-verify-tls", action="store_true", help="accept any certificate (only for tests)")
    parser.add_argument("--request-payer", action="store_true", help="the bucket charges whoever reads: agree to it")
    parser.add_argument("--version-id", metavar="ID", help="read this version of the one key, not the current one")
    parser.add_argument("--json", action="store_true", help="print one JSON document per object, nothing else")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log what is done; twice: everything")
    parser.set_defaults(command=function)
    return parser
