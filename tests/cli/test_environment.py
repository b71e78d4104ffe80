"""Options from environment variables: each option has one, and the command line wins."""

import argparse
import re
from pathlib import Path

import pytest

from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.environment import PREFIX, with_environment
from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import USAGE_ERROR
from s3_to_azure.model.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = ("s3://bucket/d/", "az://container/")


def parsed(*options: str, command: str = "copy", **variables: str) -> argparse.Namespace:
    """Return a command's options with these variables, whose names leave out the prefix."""
    parser = command_line()
    environment = {f"{PREFIX}{name}": value for name, value in variables.items()} | {"PATH": "/bin"}
    arguments, _ = with_environment(parser, [command, *ADDRESSES, *options], environment)
    return parser.parse_args(arguments)


def test_variables_stand_for_options() -> None:
    """Values, switches, counts and lists."""
    given = parsed(
        OVERWRITE="always", MAX_ERRORS="10", TAGS="true", JSON="false", VERBOSE="2", EXCLUDE='*.tmp, "a,b"', RATE="1MiB"
    )
    assert (given.overwrite, given.max_errors, given.tags, given.json, given.verbose) == ("always", 10, True, False, 2)
    assert given.exclude == ["*.tmp", "a,b"]
    assert given.rate != "1MiB", "an option that only another command has"
    assert parsed(command="plan", RATE="1MiB").rate == "1MiB"


@pytest.mark.parametrize("value", ["*.tmp,b c", "*.tmp, b c\n", "*.tmp\nb c", "*.tmp\r\nb c\r\n", '"*.tmp"\n\n,"b c"'])
def test_list_may_have_several_lines(value: str) -> None:
    """A block of YAML, in Compose and Kubernetes, has line ends."""
    assert parsed(EXCLUDE=value).exclude == ["*.tmp", "b c"]


def test_command_line_wins() -> None:
    """A repeatable option has the values of both."""
    given = parsed("--overwrite", "never", "--exclude", "b", OVERWRITE="always", EXCLUDE="a")
    assert given.overwrite == "never"
    assert given.exclude == ["a", "b"]


def test_aliases_have_the_same_variables() -> None:
    """``cp`` is ``copy``."""
    assert parsed(command="cp", MAX_ERRORS="3").max_errors == 3


def test_every_option_has_a_variable() -> None:
    """Empty variables change nothing, and each is known."""
    parser = command_line()
    (commands,) = (action.choices for action in parser._actions if isinstance(action.choices, dict))
    names = {
        PREFIX + option.lstrip("-").replace("-", "_").upper()
        for command in commands.values()
        for action in command._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }
    assert len(names) > 35
    arguments, _ = with_environment(parser, ["copy", *ADDRESSES], dict.fromkeys(names, ""))
    assert vars(parser.parse_args(arguments)) == vars(command_line().parse_args(["copy", *ADDRESSES]))


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"MAX_ERORS": "1"}, "S3_TO_AZURE_MAX_ERORS is not an option of any command. Did you mean S3_TO_AZURE_MAX_ERR"),
        ({"TAGS": "maybe"}, "S3_TO_AZURE_TAGS='maybe' is neither true nor false"),
    ],
)
def test_wrong_variable_is_named(variables: dict[str, str], says: str) -> None:
    """A misspelt one would be a setting that nobody notices is missing."""
    with pytest.raises(UsageError, match=says):
        parsed(**variables)


def test_variables_of_the_migration_are_not_the_command_lines() -> None:
    """A worker has them, and the command works there; each that the project itself reads is known."""
    read = (
        "dags/s3_to_azure_migration.py",
        "docker-compose.yaml",
        ".env.example",
        "deploy/make-env.sh",
        "demo/migration.py",
    )
    found = {name for path in read for name in re.findall(r"S3_TO_AZURE_[A-Z_]+", (ROOT / path).read_text("utf-8"))}
    assert found >= {"S3_TO_AZURE_SOURCE", "S3_TO_AZURE_DESTINATION"}
    given = [*ADDRESSES]
    assert with_environment(command_line(), given, dict.fromkeys(found, "s3://bucket/")) == (given, [])


def test_wrong_value_names_the_variable(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The person at the terminal has not typed the option that the error is about."""
    monkeypatch.setenv("S3_TO_AZURE_OVERWRITE", "sometimes")
    with pytest.raises(SystemExit, match=str(USAGE_ERROR)):
        main(["copy", *ADDRESSES])
    error = capsys.readouterr().err
    assert "argument --overwrite: invalid choice: 'sometimes'" in error
    assert "Options come from the environment too: S3_TO_AZURE_OVERWRITE." in error
    monkeypatch.setenv("S3_TO_AZURE_OVERWRITES", "never")
    assert main(["copy", *ADDRESSES]) == USAGE_ERROR
    assert "Traceback" not in capsys.readouterr().err
