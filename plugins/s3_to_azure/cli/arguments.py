"""The argument parser of all commands; ``--help`` and the documentation show its texts."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from s3_to_azure import __version__
from s3_to_azure.cli import option_groups as groups
from s3_to_azure.cli.certificate import SHOW, VERIFY, certificate
from s3_to_azure.cli.commands import copy, plan, print_keys, verify
from s3_to_azure.cli.compare import compare
from s3_to_azure.cli.listing import list_names
from s3_to_azure.transfer.watchdog import StopEvent

# Help is wrapped by argparse, but descriptions are printed as they are: at most 79 columns.
_DESCRIPTION: Final = """\
Copy objects from AWS S3 to Azure Blob Storage: streamed, proven, resumable.

SRC          s3://bucket/key         one object
             s3://bucket/prefix/     all objects below the prefix
             s3://bucket             all objects
             https://HOST/key?...    one object by a presigned URL, which needs
                                     no credentials: quote it in a shell
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

Environment  Each option of a command has a variable: S3_TO_AZURE_MAX_ERRORS=10
             is --max-errors=10, S3_TO_AZURE_TAGS=true is --tags. Repeatable
             options are separated by commas. The command line comes after it.

Exit status  0    every object was copied, unchanged or skipped
             1    an object failed, both sides differ, or a service refused
                  or did not answer
             2    an argument, a setting or the environment is wrong
             3    nothing matched: there is no object below SRC that the
                  filters let through
             130  stopped by Ctrl-C; run again, the command sends the rest
"""
_MORE: Final = "Addresses, credentials and exit status: s3-to-azure --help"
_SRC: Final = (
    "s3://bucket/key for one object, s3://bucket/prefix/ for all objects below the prefix, or the presigned URL of one "
    "object"
)
_DST: Final = "az://container/path or https://ACCOUNT.blob.core.windows.net/container/path"

_LIST_SRC: Final = "s3://bucket/prefix/ for objects, or az://container/prefix/ for blobs"

_URL_QUERY: Final = re.compile(r"(?i)(\bhttps?://[^\s?]*\?)\S+")

_Command = Callable[[argparse.Namespace, StopEvent], int]
_Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse gives this class no public name


class _Parser(argparse.ArgumentParser):
    """A parser whose errors show no query of a URL, which may be a signature."""

    def error(self, message: str) -> NoReturn:
        super().error(_URL_QUERY.sub(r"\1***", message))


def _not_empty(text: str) -> str:
    """Return the text. In a script an empty one is a variable that is not set.

    Without its value ``--keys-from`` would copy all keys, and ``--public-key`` would check no signature.
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty; leave it out, or give it a value")
    return text


class _Overview(argparse.RawDescriptionHelpFormatter):
    """Lists the commands below their title, without a line and an indent for their placeholder."""

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no public way to ask
            return super()._format_action(action)
        return "".join(map(super()._format_action, action._get_subactions()))  # noqa: SLF001 - likewise


def command_line() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser: argparse.ArgumentParser = _Parser(prog="s3-to-azure", description=_DESCRIPTION, formatter_class=_Overview)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_copy(commands)
    _add_plan(commands)
    _add_verify(commands)
    _add_compare(commands)
    _add_list(commands)
    _add_key(commands)
    _add_certificate(commands)
    for command in commands.choices.values():
        # None stands for arguments that name no type.
        command.register("type", None, _not_empty)
    return parser


def _add_copy(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _add_command(
        commands, "copy", copy, "copy new and changed objects, and verify each copy", aliases=["cp", "sync"]
    )
    groups.add_inventory(_add_selection(parser, "objects to copy"))
    copying = parser.add_argument_group("copying")
    copying.add_argument(
        "--dry-run", action="store_true", help="change nothing: list what would be done, as `plan --list` does"
    )
    _add_decisions(copying)
    groups.add_fidelity(copying)
    groups.add_create_container(copying)
    groups.add_max_errors(copying)
    groups.add_limits(parser.add_argument_group("speed and memory"))
    groups.add_access(parser.add_argument_group("access"))
    groups.add_output(parser.add_argument_group("output"), json="one JSON receipt per object", shows_progress=True)
    parser.set_defaults(max_tasks=1, rate=groups.DEFAULT_RATE, list=True)


def _add_plan(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _add_command(
        commands, "plan", plan, "show what a copy would do, how long it would take and what S3 would charge"
    )
    groups.add_inventory(_add_selection(parser, "objects to copy"))
    copying = parser.add_argument_group("copying")
    _add_decisions(copying)
    groups.add_create_container(copying, "plan for a container that is missing and would be created")
    groups.add_estimates(copying)
    access = parser.add_argument_group("access")
    groups.add_objects_at_once(access)
    groups.add_access(access)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--list", action="store_true", help="print a line for each object: what would be done, and why not more"
    )
    groups.add_output(output, json="the plan as one JSON document, or with --list one for each object")


def _add_verify(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _add_command(commands, "verify", verify, "read blobs back from Azure and compare them with their objects")
    selection = _add_selection(parser, "objects to verify")
    parser.set_defaults(inventory=None)
    groups.add_refused_names(selection)
    groups.add_etag_is_md5(parser.add_argument_group("comparison"))
    access = parser.add_argument_group("access")
    groups.add_objects_at_once(access)
    groups.add_access(access)
    groups.add_output(parser.add_argument_group("output"), json="one JSON result per object")


def _add_list(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _add_command(commands, "ls", list_names, "list objects of S3, or blobs of Azure with their proofs", to="")
    groups.add_filters(parser.add_argument_group("objects to list"))
    groups.add_access(parser.add_argument_group("access"))
    groups.add_output(parser.add_argument_group("output"), json="one JSON document per object")
    parser.set_defaults(version_id=None)


def _add_compare(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _add_command(
        commands,
        "compare",
        compare,
        "find what differs on both sides, by listings and records, without reading objects",
    )
    selection = parser.add_argument_group("objects to compare")
    groups.add_filters(selection)
    groups.add_refused_names(selection)
    comparison = parser.add_argument_group("comparison")
    comparison.add_argument(
        "--receipts",
        metavar="FILE",
        help="receipts.jsonl.gz of an earlier run: shows blobs that were changed in Azure since",
    )
    groups.add_checksums_from(comparison)
    comparison.add_argument(
        "--events",
        metavar="az://STATE/DAG",
        help="state container and DAG id of a migration with events: count the objects that no event announced",
    )
    comparison.add_argument("--sample", metavar="PERCENT", help="read this share of the blobs back, such as 1%%")
    comparison.add_argument(
        "--seed", metavar="N", type=int, help="the sample's seed (default: a random one, which is printed)"
    )
    groups.add_etag_is_md5(comparison)
    access = parser.add_argument_group("access")
    groups.add_objects_at_once(access)
    groups.add_access(access)
    output = parser.add_argument_group("output")
    output.add_argument("--csv", metavar="FILE", help="write all that is not equal by record into FILE")
    groups.add_output(output, json="the result as one JSON document")
    parser.set_defaults(keys_from=None, version_id=None, inventory=None)


def _add_key(commands: "_Commands[argparse.ArgumentParser]") -> None:
    summary = "print the keys that --refused-names=map turned into these blob names"
    parser = commands.add_parser("key", help=summary, description=_sentence(summary))
    parser.add_argument("blobs", metavar="BLOB", nargs="+", help="the blob's name, without DST's prefix")
    parser.set_defaults(command=print_keys, verbose=0, quiet=True, log_file=None)


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
        "--public-key", metavar="FILE", help="the public key in PEM that must have signed the certificate"
    )
    parser.add_argument(
        "--receipts", metavar="FILE", help="receipts.jsonl.gz of the run: check that they are the certificate's"
    )
    parser.add_argument("--key", metavar="KEY", help="with show: the key of the object")
    parser.add_argument("--proof", metavar="FILE", help="with verify: check a proof that show has printed")
    groups.add_output(parser.add_argument_group("output"), json="certificate and receipt as one JSON document")
    parser.set_defaults(command=certificate)


def _add_command(
    commands: "_Commands[argparse.ArgumentParser]",
    name: str,
    command: _Command,
    summary: str,
    *,
    aliases: Sequence[str] = (),
    to: str = " DST",
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        # With all options in it, the usage would fill the screen after each wrong argument.
        name,
        aliases=aliases,
        help=summary,
        usage=f"%(prog)s [OPTION ...] SRC{to}",
        description=_sentence(summary),
        epilog=_MORE,
    )
    parser.add_argument("source", metavar="SRC", help=_SRC if to else _LIST_SRC)
    if to:
        parser.add_argument("destination", metavar="DST", help=_DST)
    parser.set_defaults(command=command)
    return parser


def _add_selection(parser: argparse.ArgumentParser, title: str) -> groups.Group:
    selection = parser.add_argument_group(title)
    groups.add_keys(selection)
    groups.add_checksums_from(selection)
    groups.add_filters(selection)
    return selection


def _add_decisions(group: groups.Group) -> None:
    groups.add_overwrite(group)
    groups.add_integrity(group)
    groups.add_via(group)
    groups.add_refused_names(group)
    groups.add_archived(group)


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."
