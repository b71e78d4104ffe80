"""The arguments of each command: their texts fit a terminal, and their defaults are those of the operators."""

import argparse

import pytest

from s3_to_azure import __version__
from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.commands import copy, plan, print_keys, verify
from s3_to_azure.cli.listing import list_names
from s3_to_azure.model import defaults, options

COMMANDS = ("copy", "plan", "verify", "ls", "key", "certificate")


def parser_of(command: str) -> argparse.ArgumentParser:
    """Return a command's parser."""
    (commands,) = (action.choices for action in command_line()._actions if isinstance(action.choices, dict))
    parser: argparse.ArgumentParser = commands[command]
    return parser


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """A terminal of 80 columns wraps no line of it."""
    monkeypatch.setenv("COLUMNS", "80")
    text = (parser_of(command) if command else command_line()).format_help()
    assert max(map(len, text.splitlines())) < 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_has_help(command: str) -> None:
    """An option without a word of help is a riddle."""
    assert [action.dest for action in parser_of(command)._actions if not action.help] == []


def test_main_help_explains_what_the_commands_share(capsys: pytest.CaptureFixture[str]) -> None:
    """Addresses, credentials and exit statuses are explained once, and each command refers to them."""
    text = command_line().format_help()
    for word in ("s3://bucket/prefix/", "az://container/path", "AWS_ENDPOINT_URL", "AZURE_STORAGE_SAS_TOKEN", "130"):
        assert word in text
    for command in ("copy", "plan", "verify", "ls"):
        assert "exit status: s3-to-azure --help" in parser_of(command).format_help()
    with pytest.raises(SystemExit, match="0"):
        command_line().parse_args(["--version"])
    assert capsys.readouterr().out == f"{__version__}\n"


def test_defaults() -> None:
    """They come from the module that the operators and the DAG take theirs from."""
    given = vars(command_line().parse_args(["copy", "s3://bucket/key", "az://container/blob"]))
    assert given["overwrite"] == defaults.OVERWRITE
    assert given["integrity"] == defaults.INTEGRITY
    assert given["refused_names"] == defaults.REFUSED_NAMES
    assert given["archived"] == defaults.ARCHIVED
    assert given["memory_budget"] == defaults.MEMORY_BUDGET
    assert given["objects_at_once"] == defaults.OBJECTS_AT_ONCE
    assert given["connections"] == defaults.CONNECTIONS
    assert given["processes"] == defaults.PROCESSES
    planned = vars(command_line().parse_args(["plan", "s3://bucket/", "az://container/"]))
    assert planned["max_tasks"] == defaults.MAX_TASKS


def test_commands() -> None:
    """Each name runs its function."""
    functions = {"copy": copy, "cp": copy, "sync": copy, "plan": plan, "verify": verify, "key": print_keys}
    for name, function in functions.items():
        assert command_line().parse_args([name, "s3://bucket/key", "az://container/blob"]).command is function
    assert command_line().parse_args(["ls", "s3://bucket/"]).command is list_names


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--overwrite", options.OVERWRITE),
        ("--integrity", options.INTEGRITY),
        ("--refused-names", options.REFUSED_NAMES),
        ("--archived", options.ARCHIVED),
        ("--restore-tier", options.RESTORE_TIERS),
        ("--oversized-metadata", options.OVERSIZED_METADATA),
    ],
)
def test_choices(option: str, values: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Each value is taken and shown in the help; another one is refused with the list of values."""
    for value in values:
        command_line().parse_args(["copy", "s3://bucket/key", "az://container/blob", option, value])
        # A value with a space may be wrapped.
        assert value in " ".join(parser_of("copy").format_help().split())
    with pytest.raises(SystemExit, match="2"):
        command_line().parse_args(["copy", "s3://bucket/key", "az://container/blob", option, "other"])
    error = capsys.readouterr().err
    assert error.startswith("usage: s3-to-azure copy [OPTION ...] SRC DST\n")
    assert all(value in error for value in values)


def test_the_overview_lists_the_commands_below_their_title(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its summary beside it, its aliases too, and no placeholder stands above them."""
    monkeypatch.setenv("COLUMNS", "100")
    _, commands = command_line().format_help().split("commands:\n")
    assert commands.startswith("  copy (cp, sync)  copy new and changed objects, and verify each copy\n  plan  ")


@pytest.mark.parametrize("command", [*COMMANDS, "compare"])
def test_empty_text_is_no_value(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable that a script has not set must not copy all keys instead of a list's, or check no signature."""
    taken = [action for action in parser_of(command)._actions if action.option_strings and action.nargs is None]
    for action in taken:
        with pytest.raises(SystemExit, match="2"):
            command_line().parse_args([command, f"{action.option_strings[-1]}="])
        assert f"argument {'/'.join(action.option_strings)}: " in capsys.readouterr().err
    texts = {option for action in taken if action.type is None for option in action.option_strings}
    assert texts >= {"copy": {"--keys-from", "--filter-from", "--bandwidth-limit", "--inventory"}}.get(command, set())
    assert texts >= {"certificate": {"--public-key", "--receipts", "--proof"}}.get(command, set())
