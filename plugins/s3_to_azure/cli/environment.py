"""Options from the environment: ``S3_TO_AZURE_MAX_ERRORS=10`` stands for ``--max-errors=10``."""

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Final

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.options import did_you_mean

PREFIX: Final = "S3_TO_AZURE_"
# The migration in dags/ reads these, and a worker has them too.
_OF_THE_DAG: Final = ("AWS_CONN_ID", "DESTINATION", "POOL", "SCHEDULE", "SOURCE", "STATE_CONTAINER", "WASB_CONN_ID")
_SWITCHES: Final = {"true": 1, "1": 1, "yes": 1, "on": 1, "false": 0, "0": 0, "no": 0, "off": 0, "": 0}


def with_environment(
    parser: argparse.ArgumentParser, arguments: Sequence[str], variables: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return the arguments with the options of the environment before those of the command line, and their variables.

    Of an option that is given twice, the last one counts. A variable that is empty counts as one that is not set. A
    variable of an option that only other commands have is left out, so that one environment serves all of them.

    Raises:
        UsageError: A variable is no option of any command, or a switch is neither on nor off.
    """
    not_ours = {f"{PREFIX}{name}" for name in _OF_THE_DAG}
    given = {name: value for name, value in variables.items() if name.startswith(PREFIX) and name not in not_ours}
    if not given:
        return list(arguments), []
    commands = _commands(parser)
    known = {_variable(action) for command in commands.values() for action in _options(command)}
    for name in given:
        if name not in known:
            near = did_you_mean(name, known)
            raise UsageError(detail=f"The environment variable {name} is not an option of any command.{near}")
    command = commands.get(arguments[0]) if arguments else None
    if command is None:
        return list(arguments), []
    found = {name: action for action in _options(command) if (name := _variable(action)) in given}
    added = [argument for name, action in found.items() for argument in _arguments(action, name, given[name])]
    return [arguments[0], *added, *arguments[1:]], list(found)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = parser._actions  # noqa: SLF001 - argparse has no public list of its arguments
    return dict(next(action.choices for action in actions if isinstance(action, argparse._SubParsersAction)))  # noqa: SLF001


def _options(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in command._actions:  # noqa: SLF001
        if action.option_strings and action.dest != "help":
            yield action


def _long_name(action: argparse.Action) -> str:
    return next(name for name in action.option_strings if name.startswith("--"))


def _variable(action: argparse.Action) -> str:
    return PREFIX + _long_name(action).removeprefix("--").replace("-", "_").upper()


def _arguments(action: argparse.Action, name: str, value: str) -> list[str]:
    option = _long_name(action)
    if action.nargs == 0:
        if isinstance(action.default, int) and not isinstance(action.default, bool) and value.isdigit():
            return [option] * min(int(value), 2)
        if value.lower() not in _SWITCHES:
            raise UsageError(detail=f"{name}={value!r} is neither true nor false.")
        return [option] * _SWITCHES[value.lower()]
    if not value:
        return []
    if isinstance(action.default, list):
        # A variable from YAML may have a line for each value.
        rows = csv.reader(StringIO(value, newline=None), skipinitialspace=True)
        return [f"{option}={item}" for row in rows for item in row if item]
    return [f"{option}={value}"]
