"""The options: those of one meaning are the same for all commands that have them."""

import argparse

import pytest

from s3_to_azure.cli.arguments import command_line
from tests.cli.test_arguments import parser_of

_OUTPUT = {"--json", "--quiet", "--verbose", "--log-file"}
_ACCESS = {"--no-sign-request", "--request-payer", "--no-verify-tls"}
_FILTERS = {
    *("--include", "--exclude", "--filter-from", "--min-size", "--max-size", "--modified-after", "--modified-before"),
    "--storage-class",
}


def options_of(command: str) -> dict[str, argparse.Action]:
    """Return a command's options by their long names."""
    return {
        name: action for action in parser_of(command)._actions for name in action.option_strings if name[:2] == "--"
    }


@pytest.mark.parametrize("command", ["copy", "plan", "verify", "ls"])
def test_commands_share_filters_access_and_output(command: str) -> None:
    """A person learns them once."""
    assert options_of(command).keys() >= _OUTPUT | _ACCESS | _FILTERS


def test_plan_takes_what_decides_in_a_copy() -> None:
    """So that a plan is the plan of that copy, whose dry run passes the same options on."""
    deciding = {"--overwrite", "--integrity", "--refused-names", "--archived", "--keys-from", "--create-container"}
    assert options_of("plan").keys() & options_of("copy").keys() >= deciding | _FILTERS
    needed = vars(command_line().parse_args(["plan", "s3://bucket/", "az://container/"])).keys()
    dry = vars(command_line().parse_args(["copy", "s3://bucket/", "az://container/", "--dry-run"])).keys()
    assert needed <= dry


def test_choice_in_another_spelling() -> None:
    """Hyphens are what people type in options."""
    given = command_line().parse_args(["sync", "s3://bucket/", "az://container/", "--overwrite", "if-changed"])
    assert given.overwrite == "if_changed"
