"""Each argument, run Param, option and field that people can meet has its words; each link leads somewhere."""

import inspect
import re
from pathlib import Path

import pytest
from reference import command_line_page, run_params_table

from s3_to_azure.cli.arguments import command_line
from s3_to_azure.dag import migration_dag
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.settings import Fidelity
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from s3_to_azure.sensors import S3ObjectsSensor
from tests.docs.pages import PAGES, ROOT, text_of

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")


@pytest.mark.parametrize("told", [S3ToAzureBlobStreamOperator, S3ObjectsSensor, migration_dag])
def test_the_reference_tells_every_parameter(told: type) -> None:
    """The docstring, of which the reference is made, has an entry for each; the reference shows the docstring."""
    text = inspect.getdoc(told) or ""
    entries = set(re.findall(r"^    (\w+): \S", text, re.MULTILINE))
    assert entries >= set(inspect.signature(told).parameters)
    assert f"{told.__module__}.{told.__name__}" in text_of("docs/reference/airflow.md")


def test_the_reference_tells_every_fidelity_choice() -> None:
    """So does Fidelity's, which is shown there too; and the page about it names each."""
    page = text_of("docs/fidelity.md")
    for name in inspect.signature(Fidelity).parameters:
        assert re.search(rf"^    {name}: \S", inspect.getdoc(Fidelity) or "", re.MULTILINE), name
        assert f"`{name}`" in page, name


def test_the_pages_tell_every_run_param() -> None:
    """Each has its row beside the picture of the trigger form, and with its default in the reference."""
    page, table = text_of("docs/ui.md"), run_params_table()
    params = migration_dag("told", None, None).params
    assert params
    for name in params:
        assert f"`{name}`" in page, name
        assert re.search(rf"^\| `{name}` \| `.+` \| .+ \| .+ \|$", table, re.MULTILINE), name
    assert "{run-params}" in text_of("docs/reference/airflow.md")


def test_the_reference_tells_every_option() -> None:
    """Each command has its section, and each of its options an entry there with a word of help."""
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", command_line_page(), re.MULTILINE | re.DOTALL))
    (commands,) = (action.choices for action in command_line()._actions if isinstance(action.choices, dict))
    for name, command in commands.items():
        entries = re.findall(r"^```\{option\} (.+)\n(.+)\n```$", sections[name], re.MULTILINE)
        told = {option for spelled, helped in entries if helped for option in re.findall(r"(?<!\w)--?[a-z-]+", spelled)}
        assert told >= set(command._option_string_actions) - {"-h", "--help"}, name
    assert "{command-line}" in text_of("docs/reference/cli.md")


def test_the_page_tells_every_field_of_a_receipt() -> None:
    """Receipts are read by programs: each field has its row."""
    page = text_of("docs/reference/receipt.md")
    assert [name for name in inspect.signature(Receipt).parameters if f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """On GitHub too: the file is there, and has the heading. Sphinx looks at the pages of the site only."""
    for found in _LINK.findall(_without_code(page.read_text(encoding="utf-8"))):
        target = next(filter(None, found))
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), target
        if heading:
            assert heading in _headings(there.read_text(encoding="utf-8")), target


def _without_code(text: str) -> str:
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)


def _headings(text: str) -> set[str]:
    """Return the anchors as GitHub makes them."""
    seen: dict[str, int] = {}
    anchors = set()
    for line in re.findall(r"^#+ (.*)$", _without_code(text), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-")
        count = seen.get(anchor, 0)
        seen[anchor] = count + 1
        anchors.add(f"{anchor}-{count}" if count else anchor)
    return anchors
