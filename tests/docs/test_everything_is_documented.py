"""Each argument, run Param, option and receipt field is documented, and each link has a target."""

import inspect
import re
from pathlib import Path

import pytest
from reference import command_line_page, run_params_table

from s3_to_azure.cli.arguments import command_line
from s3_to_azure.dag import migration_dag
from s3_to_azure.events import S3EventsSensor
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.settings import Fidelity
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from s3_to_azure.sensors import S3ObjectsSensor
from tests.docs.pages import PAGES, ROOT, text_of, without_code

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")


@pytest.mark.parametrize("documented", [S3ToAzureBlobStreamOperator, S3ObjectsSensor, S3EventsSensor, migration_dag])
def test_the_reference_documents_every_parameter(documented: type) -> None:
    """The docstring has an entry for each parameter, and the reference shows the docstring."""
    text = inspect.getdoc(documented) or ""
    entries = set(re.findall(r"^    (\w+): \S", text, re.MULTILINE))
    assert entries >= set(inspect.signature(documented).parameters)
    assert f"{documented.__module__}.{documented.__name__}" in text_of("docs/reference/airflow.md")


def test_the_reference_documents_every_fidelity_choice() -> None:
    """The docstring has an entry for each choice, and docs/fidelity.md names each."""
    page = text_of("docs/fidelity.md")
    for name in inspect.signature(Fidelity).parameters:
        assert re.search(rf"^    {name}: \S", inspect.getdoc(Fidelity) or "", re.MULTILINE), name
        assert f"`{name}`" in page, name


def test_the_pages_document_every_run_param() -> None:
    """Each Param has its row in docs/ui.md, and its row with the default in the reference."""
    page, table = text_of("docs/ui.md"), run_params_table()
    params = migration_dag("documented", None, None).params
    assert params
    for name in params:
        assert f"`{name}`" in page, name
        assert re.search(rf"^\| `{name}` \| `.+` \| .+ \| .+ \|$", table, re.MULTILINE), name
    assert "{run-params}" in text_of("docs/reference/airflow.md")


def test_the_reference_documents_every_option() -> None:
    """Each command has its section, and each of its options an entry with a help text."""
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", command_line_page(), re.MULTILINE | re.DOTALL))
    (commands,) = (action.choices for action in command_line()._actions if isinstance(action.choices, dict))
    assert "Also: `cp`, `sync`." in sections["copy"]
    for name, command in commands.items():
        if name in ("cp", "sync"):
            continue
        entries = re.findall(r"^```\{option\} (.+)\n(.+)\n```$", sections[name], re.MULTILINE)
        documented = {
            option for spelled, helped in entries if helped for option in re.findall(r"(?<!\w)--?[a-z0-9-]+", spelled)
        }
        assert documented >= set(command._option_string_actions) - {"-h", "--help"}, name
    assert "{command-line}" in text_of("docs/reference/cli.md")


def test_the_reference_of_commands_fits_a_narrow_screen() -> None:
    """All words of the help text are there, and none of it is a block of code, which a phone would cut off."""
    page = command_line_page()
    (overview,) = re.findall(r"^## s3-to-azure\n(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL)
    words = (command_line().description or "").split()
    assert [word for word in words if word not in overview] == []
    assert set(re.findall(r"^```(\S+)", page, re.MULTILINE)) == {"{program}", "{option}"}


def test_the_page_documents_every_field_of_a_receipt() -> None:
    """Programs read receipts, so each field has its row."""
    page = text_of("docs/reference/receipt.md")
    assert [name for name in inspect.signature(Receipt).parameters if f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_targets(page: Path) -> None:
    """The file exists and has the heading, as GitHub makes anchors. Sphinx checks only the pages of the site."""
    for found in _LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        target = next(filter(None, found))
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), target
        if heading:
            assert heading in _headings(there.read_text(encoding="utf-8")), target


def test_pages_use_no_definition_lists() -> None:
    """Neither GitHub nor the site renders them: a list with a bold beginning looks the same on both."""
    lists = re.compile(r"^: ", re.MULTILINE)
    assert [page.name for page in PAGES if lists.search(without_code(page.read_text(encoding="utf-8")))] == []


def _headings(text: str) -> set[str]:
    """Return the anchors as GitHub makes them."""
    seen: dict[str, int] = {}
    anchors = set()
    for line in re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-")
        count = seen.get(anchor, 0)
        seen[anchor] = count + 1
        anchors.add(f"{anchor}-{count}" if count else anchor)
    return anchors
