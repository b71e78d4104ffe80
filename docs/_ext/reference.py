"""Sphinx directives that document the command line and the run Params from the code."""

import argparse
import inspect
import json
import re
from collections.abc import Iterable, Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from s3_to_azure.airflow.migration.params import migration_params
from s3_to_azure.cli.arguments import command_line
from s3_to_azure.dag import migration_dag

_PARAMS = inspect.signature(migration_params).parameters
_DEFAULTS = {
    name: each.default for name, each in inspect.signature(migration_dag).parameters.items() if name in _PARAMS
}


class CommandLine(SphinxDirective):
    """The directive ``{command-line}``: one section per command, one entry per option."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        return self.parse_text_to_nodes(command_line_page(), allow_section_headings=True)


class RunParams(SphinxDirective):
    """The directive ``{run-params}``: a table of the Params with their defaults in ``migration_dag``."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        return self.parse_text_to_nodes(run_params_table())


def command_line_page() -> str:
    """Return argparse's parser as Markdown, without blocks of code: they would be cut off on a narrow screen."""
    parser = command_line()
    lines = [f"## {parser.prog}", "", *_described(parser.description or "")]
    for name, command, summary in _commands(parser):
        usage = " ".join(command.format_usage().removeprefix("usage: ").split())
        aliases = [f"`{other}`" for other, same in _choices(parser).items() if same is command and other != name]
        also = f" Also: {', '.join(aliases)}." if aliases else ""
        lines += [f"## {name}", "", f"{summary[:1].upper()}{summary[1:]}.{also}", "", f"`{usage}`", ""]
        for action in command._actions:  # noqa: SLF001 - argparse has no public way to ask
            if not action.option_strings:
                names = action.metavar if isinstance(action.metavar, str) else ", ".join(action.choices or ())
                lines.append(f"- `{names}`: {_helped(command, action)}")
        lines += ["", *_block(f"{{program}} {parser.prog} {name}", "")]
        for group in command._action_groups:  # noqa: SLF001 - argparse has no public way to ask
            options = [
                action
                for action in group._group_actions  # noqa: SLF001
                if action.option_strings and not isinstance(action, argparse._HelpAction)  # noqa: SLF001
            ]
            if options:
                title = group.title or ""
                lines += [f"**{title[:1].upper()}{title[1:]}**", ""]
            for action in options:
                lines += _block(f"{{option}} {_spelled(action)}", _helped(command, action))
    return "\n".join(lines)


def _described(text: str) -> Iterator[str]:
    """Yield the lines of a help text with columns as Markdown: a paragraph or a list for each word on the left."""
    column = 13
    term: list[str] = []
    for line in [*text.splitlines(), "END"]:
        begins = line[:1].strip() != ""
        if begins and term:
            yield from _term(term[0][:column].strip(), [each[column:] for each in term])
            term = []
        if begins and line[column - 2 : column] != "  " and line != "END":
            yield from (line, "")
        elif line != "END" and (begins or term):
            term.append(line)


def _term(name: str, lines: list[str]) -> Iterator[str]:
    """Yield one word of a help text, its paragraphs, and its two columns as a list."""
    yield from (f"**{name}**", "")
    for line in lines:
        columns = re.fullmatch(r"(\S+) {2,}(\S.*)", line)
        if columns:
            yield f"- `{columns[1]}`: {columns[2]}"
        elif re.fullmatch(r"\w+://\S+", line):
            yield f"- `{line}`"
        else:
            # Below a row of the list, what is indented belongs to it.
            yield f"  {line.strip()}" if line.startswith(" ") else line
    yield ""


def run_params_table() -> str:
    """Return the Params as a Markdown table."""
    lines = ["| Param | default | values | |", "|---|---|---|---|"]
    for name, param in migration_params(**_DEFAULTS).items():
        values = _values(param.schema)
        lines.append(f"| `{name}` | `{json.dumps(param.value)}` | {values} | {_cell(param.description or '')} |")
    return "\n".join(lines)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    # An alias is a choice without a summary of its own.
    for each in _subparsers(parser)._choices_actions:  # noqa: SLF001
        yield each.dest, _choices(parser)[each.dest], each.help or ""


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return dict(_subparsers(parser).choices)


def _subparsers(parser: argparse.ArgumentParser) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001


def _spelled(action: argparse.Action) -> str:
    value = ""
    if action.nargs != 0:
        value = " " + (
            action.metavar if isinstance(action.metavar, str) else "{" + ",".join(action.choices or ()) + "}"
        )
    return ", ".join(f"{option}{value}" for option in action.option_strings)


def _helped(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    return command._get_formatter()._expand_help(action)  # noqa: SLF001


def _block(language: str, text: str) -> list[str]:
    return [f"```{language}", text.strip("\n"), "```", ""]


def _values(schema: dict[str, object]) -> str:
    choices = schema.get("enum")
    if isinstance(choices, Iterable):
        return ", ".join(f"`{choice}`" for choice in choices)
    if "minimum" in schema:
        return f"{schema['minimum']:,} to {schema['maximum']:,}"
    kind = schema["type"]
    return " or ".join(each for each in kind if each != "null") + ", or empty" if isinstance(kind, list) else str(kind)


def _cell(text: str) -> str:
    return text.replace("*", r"\*").replace("|", r"\|")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("command-line", CommandLine)
    app.add_directive("run-params", RunParams)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
