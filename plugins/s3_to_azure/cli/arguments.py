"""The argument parser of all commands; ``--help`` and the documentation show its texts."""

import argparse
from collections.abc import Callable
from typing import Final

from s3_to_azure import __version__
from s3_to_azure.cli.certificate import SHOW, VERIFY, certificate
from s3_to_azure.cli.commands import copy, plan, print_keys, verify
from s3_to_azure.model import defaults, options
from s3_to_azure.transfer.watchdog import StopEvent

# Help is wrapped by argparse, but descriptions are printed as they are: at most 79 columns.
_DESCRIPTION: Final = """\
Copy objects from AWS S3 to Azure Blob Storage: streamed, proven, resumable.

SRC          s3://bucket/key         one object
             s3://bucket/prefix/     all objects below the prefix
             s3://bucket             all objects
DST          az://container/path     a blob's name, or a prefix
             https://ACCOUNT.blob.core.windows.net/container/path

             One object becomes the blob that DST names; where DST ends in
             "/", it keeps the last part of its key. Many objects go below
             DST, named by their keys without SRC's prefix.

Credentials  S3: boto3's usual chain, such as AWS_PROFILE. AWS_ENDPOINT_URL
             selects another S3 service. S3_SSE_CUSTOMER_KEY (base64) is the
             key of objects that are encrypted with a customer key.
             AWS_NO_SIGN_REQUEST=true is --no-sign-request.
             Azure: AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT
             with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN; without a key
             or token, DefaultAzureCredential, such as after "az login".

Exit status  0    every object was copied, unchanged or skipped
             1    an object failed, or a service refused or did not answer
             2    an argument, a setting or the environment is wrong
             130  stopped by Ctrl-C; run again, the command sends the rest
"""
_MORE: Final = "Addresses, credentials and exit status: s3-to-azure --help"
_SRC: Final = "s3://bucket/key for one object, s3://bucket/prefix/ for all objects below the prefix"
_DST: Final = "az://container/path or https://ACCOUNT.blob.core.windows.net/container/path"
_TIME: Final = "such as 2026-01-31T00:00:00+00:00"

_Command = Callable[[argparse.Namespace, StopEvent], int]
_Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse gives this class no public name
_Group = argparse._ArgumentGroup  # noqa: SLF001


def command_line() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="s3-to-azure", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_copy(commands)
    _add_plan(commands)
    _add_verify(commands)
    _add_key(commands)
    _add_certificate(commands)
    return parser


def _add_copy(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _add_command(commands, "copy", copy, "copy new and changed objects, and verify each copy")
    selection = parser.add_argument_group("objects to copy")
    _add_keys(selection)
    _add_filters(selection)
    copying = parser.add_argument_group("copying")
    _add_overwrite(copying)
    _add_integrity(copying)
    _add_refused_names(copying)
    _add_archived(copying)
    _add_fidelity(copying)
    copying.add_argument("--create-container", action="store_true", help="create the container where it is missing")
    _add_limits(parser.add_argument_group("speed and memory"))
    _add_access(parser.add_argument_group("access"))
    _add_output(parser.add_argument_group("output"), json="one JSON receipt per object")


def _add_plan(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _add_command(
        commands, "plan", plan, "show what a copy would do, how long it would take and what S3 would charge"
    )
    selection = parser.add_argument_group("objects to copy")
    _add_keys(selection)
    _add_filters(selection)
    copying = parser.add_argument_group("copying")
    _add_overwrite(copying)
    _add_integrity(copying)
    _add_refused_names(copying)
    _add_archived(copying)
    copying.add_argument(
        "--max-tasks",
        metavar="N",
        type=int,
        default=defaults.MAX_TASKS,
        help="the most tasks to share the work among (default: %(default)s)",
    )
    copying.add_argument(
        "--rate",
        metavar="SIZE",
        default="200MB",
        help="bytes per second that the time estimate assumes (default: %(default)s)",
    )
    access = parser.add_argument_group("access")
    _add_objects_at_once(access)
    _add_access(access)
    _add_output(parser.add_argument_group("output"), json="the plan as one JSON document")


def _add_verify(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _add_command(commands, "verify", verify, "read blobs back from Azure and compare them with their objects")
    selection = parser.add_argument_group("objects to verify")
    _add_keys(selection)
    _add_refused_names(selection)
    _add_etag_is_md5(parser.add_argument_group("comparison"))
    access = parser.add_argument_group("access")
    _add_objects_at_once(access)
    _add_access(access)
    _add_output(parser.add_argument_group("output"), json="one JSON result per object")


def _add_key(commands: "_Commands[argparse.ArgumentParser]") -> None:
    summary = "print the keys that --refused-names=map turned into these blob names"
    parser = commands.add_parser("key", help=summary, description=_sentence(summary))
    parser.add_argument("blobs", metavar="BLOB", nargs="+", help="the blob's name, without DST's prefix")
    parser.set_defaults(command=print_keys, verbose=0, quiet=True)


def _add_certificate(commands: "_Commands[argparse.ArgumentParser]") -> None:
    summary = "check the certificate of a run offline, or print the proof of one object's receipt"
    parser = commands.add_parser(
        "certificate",
        help=summary,
        usage="%(prog)s [OPTION ...] {verify,show} FILE",
        description=_sentence(summary),
    )
    parser.add_argument(
        "action", choices=(VERIFY, SHOW), help="check FILE, or print the proof of the receipt that --key names"
    )
    parser.add_argument("file", metavar="FILE", help="the certificate, certificate.json of a run's state files")
    parser.add_argument(
        "--public-key", metavar="FILE", help="the Ed25519 key in PEM that must have signed the certificate"
    )
    parser.add_argument(
        "--receipts", metavar="FILE", help="receipts.jsonl.gz of the run: check that they are the certificate's"
    )
    parser.add_argument("--key", metavar="KEY", help="with show: the key of the object")
    parser.add_argument("--proof", metavar="FILE", help="with verify: check a proof that show has printed")
    _add_output(parser.add_argument_group("output"), json="certificate and receipt as one JSON document")
    parser.set_defaults(command=certificate)


def _add_command(
    commands: "_Commands[argparse.ArgumentParser]", name: str, command: _Command, summary: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        # With all options in it, the usage would fill the screen after each wrong argument.
        name,
        help=summary,
        usage="%(prog)s [OPTION ...] SRC DST",
        description=_sentence(summary),
        epilog=_MORE,
    )
    parser.add_argument("source", metavar="SRC", help=_SRC)
    parser.add_argument("destination", metavar="DST", help=_DST)
    parser.set_defaults(command=command)
    return parser


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _add_keys(group: _Group) -> None:
    group.add_argument(
        "--keys-from",
        metavar="FILE",
        help="take the keys from FILE (- for standard input), one per line; in FILE.jsonl each line is a JSON string; "
        "SRC is a prefix of all of them",
    )
    group.add_argument("--version-id", metavar="ID", help="read this version of the object instead of the current one")


def _add_filters(group: _Group) -> None:
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


def _add_overwrite(group: _Group) -> None:
    group.add_argument(
        "--overwrite",
        choices=options.OVERWRITE,
        default=defaults.OVERWRITE,
        help="whether to replace a blob that exists (default: %(default)s, unless it is a copy of this version of the "
        "object)",
    )


def _add_integrity(group: _Group) -> None:
    group.add_argument(
        "--integrity",
        metavar="LEVEL",
        choices=options.INTEGRITY,
        default=defaults.INTEGRITY,
        help="the weakest verification level to accept: one of %(choices)s (default: %(default)s, the "
        "strongest that S3's checksums allow)",
    )


def _add_refused_names(group: _Group) -> None:
    group.add_argument(
        "--refused-names",
        choices=options.REFUSED_NAMES,
        default=defaults.REFUSED_NAMES,
        help="objects whose names Azure refuses: fail them, skip them, or map the names to others that the command "
        "`key` turns back (default: %(default)s)",
    )


def _add_archived(group: _Group) -> None:
    group.add_argument(
        "--archived",
        choices=options.ARCHIVED,
        default=defaults.ARCHIVED,
        help="objects in an archive class: fail them, skip them, or ask S3 to restore them for a later run "
        "(default: %(default)s)",
    )


def _add_fidelity(group: _Group) -> None:
    group.add_argument(
        "--restore-days",
        metavar="N",
        type=int,
        default=defaults.RESTORE_DAYS,
        help="days that a restored object stays readable (default: %(default)s)",
    )
    group.add_argument(
        "--restore-tier",
        choices=options.RESTORE_TIERS,
        default=defaults.RESTORE_TIER,
        help="speed and price of a restore (default: %(default)s)",
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
    group.add_argument(
        "--oversized-metadata",
        choices=options.OVERSIZED_METADATA,
        default=defaults.OVERSIZED_METADATA,
        help="objects with more metadata than a blob can hold: fail them, or drop their own metadata "
        "(default: %(default)s)",
    )
    _add_etag_is_md5(group)


def _add_etag_is_md5(group: _Group) -> None:
    group.add_argument(
        "--etag-is-md5",
        choices=options.ETAG_IS_MD5,
        default=defaults.ETAG_IS_MD5,
        help="whether ETags that look like MD5s are compared with the bytes: auto, as S3's responses say, or no, for a "
        "store whose ETags are not MD5s (default: %(default)s)",
    )


def _add_limits(group: _Group) -> None:
    _add_objects_at_once(group)
    group.add_argument(
        "--connections",
        metavar="N",
        type=int,
        default=defaults.CONNECTIONS,
        help="the most blocks to read at once, and to write at once (default: %(default)s)",
    )
    group.add_argument(
        "--processes",
        metavar="N",
        type=int,
        default=defaults.PROCESSES,
        help="processes that share the work and all limits; for many small objects take one per core "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--memory-budget",
        metavar="SIZE",
        default=defaults.MEMORY_BUDGET,
        help="the most memory for object data (default: %(default)s)",
    )
    group.add_argument("--block-size", metavar="SIZE", help="such as 32MiB (default: by the object's size)")
    group.add_argument(
        "--bandwidth-limit", metavar="SIZE", help="the most bytes per second, such as 50MiB (default: no limit)"
    )


def _add_objects_at_once(group: _Group) -> None:
    group.add_argument(
        "--objects-at-once",
        metavar="N",
        type=int,
        default=defaults.OBJECTS_AT_ONCE,
        help="the most objects to work on at once (default: %(default)s)",
    )


def _add_access(group: _Group) -> None:
    group.add_argument("--no-sign-request", action="store_true", help="read a public bucket without credentials")
    group.add_argument("--request-payer", action="store_true", help="pay for the requests to a requester-pays bucket")
    group.add_argument("--no-verify-tls", action="store_true", help="accept any TLS certificate (for tests only)")


def _add_output(group: _Group, *, json: str) -> None:
    group.add_argument("--json", action="store_true", help=f"print {json}, and nothing else on standard output")
    group.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    group.add_argument("-v", "--verbose", action="count", default=0, help="log each step; -vv logs each request")
