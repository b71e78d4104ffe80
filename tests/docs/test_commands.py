"""Every command in README, CONTRIBUTING and docs is run here, run by CI as a target, or listed with its check."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure import __version__
from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import OK
from tests.docs.pages import PAGES, ROOT, blocks, text_of, without_code

_SHELL = ("sh", "bash", "console", "shell")
_OURS = "s3-to-azure"

# Commands that no test of this file runs: the start of the command and what checks it; the comment says why.
_ELSEWHERE = {
    "deploy/make-env.sh": "make compose-check",  # needs Docker, or root for its stand-ins
    "docker compose": "make compose-check",
    "grep AIRFLOW_ADMIN .env": "make compose-check",  # the file that make-env.sh makes
    "pip install s3-to-azure": "nothing: it works from the first release on",
    "pip install 's3": "tests/wheel/test_wheel.py",  # the file, and a git URL
    "pip install --constraint": "tests/airflow_matrix/test_places.py",  # the same resolution, as a dry run
    "pip install --no-deps": "make wheel-check",  # into an environment of its own
    ".venv/bin/python benchmarks/plan_memory.py": "test_programs_are_there",  # minutes; it exits 1 when it fails
    ".venv/bin/python benchmarks/plan_cost.py": "test_programs_are_there",
    ".venv/bin/python -m pytest": "test_programs_are_there",  # it runs inside pytest itself
    ". .venv/bin/activate": "tests/docs/test_tutorial.py",
    "python -m local_cloud": "tests/docs/test_tutorial.py",
    "timeout": "tests/docs/test_tutorial.py",
    "export": "tests/docs/test_tutorial.py",
    "mkdir -p": "tests/docs/test_tutorial.py",
    "printf": "tests/docs/test_certificates_page.py",
    "aws kms": "tests/docs/test_certificates_page.py",  # against the service model
    "az keyvault": "nothing: needs Azure's command line, and a vault",
    "openssl": "tests/docs/test_certificates_page.py",
    "head": "tests/docs/test_certificates_page.py",
    "tail": "tests/docs/test_certificates_page.py",
    "python -c 'import socket": "nothing: it asks the name servers",
    "python -c": "tests/docs/test_certificates_page.py",
    "python check.py": "tests/docs/test_certificates_page.py",
    "docker build": "nothing: no Docker where CI runs; make compose-check builds the same Dockerfile",
    "docker push": "nothing: needs a registry",
    "aws s3api": "tests/docs/test_inventory_page.py",  # against the service model
    "aws s3control": "tests/docs/test_checksum_reports_page.py",  # against the service model
    "kubectl": "nothing: needs a cluster; tests/docs/test_kubernetes_values.py checks the policy",
    "helm": "nothing: needs a cluster; tests/docs/test_kubernetes_values.py checks the values",
}
# Make targets that CI does not run, and why.
_BY_HAND = {
    "up": "make demo does the same, and stops",
    "down": "make demo does the same, and stops",
    "demo": "tests cover its parts",
    "bench": "needs a quiet machine for an hour",
    "soak": "takes minutes; make test-all runs the short form",
    "chaos": "prints one history for a person; tests/chaos/test_chaos.py runs many",
    "faults": "make test and make test-all run all of them",
    "mutants": "takes long, and changes the code while it runs",
    "compose-check": "needs Docker, or root on Debian 12",
    "structure": "tests/project/test_structure.py compares its output",
    "lock": "asks registries for what is new",
    "wheel": "tests/wheel/test_wheel.py builds it",
    "plugins-zip": "tests/wheel/test_wheel.py runs it",
    "places": "asks the registry for many versions; tests/airflow_matrix/test_places.py makes them",
    "setup": "every target begins with it",
}


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page."""

    place: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        """Return it in shell syntax."""
        return shlex.join(self.words)


def _commands() -> Iterator[Command]:
    for block in blocks(*_SHELL):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words:
                yield Command(str(block), tuple(words))


_COMMANDS = list(_commands())
# tests/docs/test_tutorial.py runs these, wherever they stand: README's first steps are the tutorial's.
_TUTORIAL = {command.words for command in _COMMANDS if command.place.startswith("docs/tutorial.md:")}
_RUNS = [
    Command(command.place, tuple(takewhile(lambda word: word != ">", command.words)))
    for command in _COMMANDS
    if command.words[0] == _OURS and command.words not in _TUTORIAL
]


def test_every_block_has_a_language() -> None:
    """A block without a language could be a command that no test checks."""
    known = {*_SHELL, "ini", "json", "python", "text", "yaml"}
    odd = [str(block) for block in blocks() if block.language not in known and not block.language.startswith("{")]
    # The README's drawing is text; GitHub shows it best without a language.
    assert [place for place in odd if not place.startswith("README.md")] == []
    # A block that is only indented has no language, and its commands would be seen by nobody.
    indented = re.compile(r"\n\n {4}\S")
    assert [page.name for page in PAGES if indented.search(without_code(page.read_text(encoding="utf-8")))] == []
    drawings = [block.text for block in blocks("") if block.page == "README.md"]
    assert all("┌" in text for text in drawings)


def test_every_command_is_run_or_named() -> None:
    """A command of a page is run or listed, and each entry of the list is used by a page."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", text_of("Makefile"), re.MULTILINE))
    left, used = [], set()
    for command in _COMMANDS:
        named = [start for start in _ELSEWHERE if str(command).startswith(start)]
        used.update(named)
        if command.words[0] == "make":
            assert command.words[1] in targets, command
        elif command.words[0] not in (_OURS, "airflow") and not named:
            left.append(command)
    assert left == []
    assert used == set(_ELSEWHERE)
    for check in {*_ELSEWHERE.values(), *_BY_HAND.values()}:
        for file in re.findall(r"tests/\S+\.py", check):
            assert (ROOT / file).is_file(), file


def test_make_targets_are_run_by_ci_or_named() -> None:
    """CI runs each target that a page names, or the list has the reason."""
    by_ci = set(re.findall(r"^step make (\S+)$", text_of(".ci/run"), re.MULTILINE)) | {"docs"}
    for workflow in (ROOT / ".github/workflows").iterdir():
        by_ci |= set(re.findall(r"run: (?:sudo )?make (\S+)$", workflow.read_text(encoding="utf-8"), re.MULTILINE))
    assert "$(MAKE) docs" in text_of("Makefile")
    named = {command.words[1] for command in _COMMANDS if command.words[0] == "make"}
    for page in sorted({block.page for block in blocks()}):
        named |= set(re.findall(r"`make ([a-z-]+)", text_of(page)))
    assert named <= by_ci | set(_BY_HAND)


def test_named_files_exist() -> None:
    """Files named in commands exist."""
    named = [
        word for command in _COMMANDS for word in command.words if re.match(r"(benchmarks|deploy|tests|demo)/", word)
    ]
    assert named
    for word in named:
        assert (ROOT / word.partition("::")[0]).exists(), word


@pytest.mark.slow
def test_airflow_commands_run(tmp_path: Path) -> None:
    """Each airflow command of the pages succeeds in a fresh Airflow and prints what the page says."""
    environment = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    found = [command for command in _COMMANDS if command.words[0] == "airflow" and command.words not in _TUTORIAL]
    from airflow.cli.cli_parser import get_parser  # noqa: PLC0415 - a second, for a slow test

    # A backfill needs its DAG in the database, and a scheduler: Airflow's parser knows its options.
    backfills = [command for command in found if command.words[1] == "backfill"]
    for command in backfills:
        assert get_parser().parse_args(command.words[1:]).dag_id in text_of("docs/recipes.md")
    found = [command for command in found if command not in backfills]
    shown = {"plugins": "s3_to_azure", "providers": "s3-to-azure"}
    assert {command.words[1] for command in found} == set(shown)
    subprocess.run(["airflow", "db", "migrate"], env=environment, capture_output=True, check=True)
    for words in dict.fromkeys(command.words for command in found):
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert shown[words[1]] in done.stdout, done.stdout


@pytest.mark.parametrize("command", _RUNS, ids=str)
def test_our_commands_are_parsed(command: Command) -> None:
    """The real parser accepts each of them; the slow test, or that of the page on certificates, runs them."""
    if command.words[1:] != ("--version",):
        options = command_line().parse_args(command.words[1:])
        assert command.words[1] == "certificate" or options.source.startswith(("s3://", "https://"))


@pytest.fixture
def cloud(
    s3_client: Any, s3_server: LocalS3, azure_server: LocalAzure, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], None]:
    """Return a function that creates a command's source and destination on the local servers."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", s3_server.region)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_server.connection_string)

    def make(source: str, destination: str) -> None:
        there, here = urlsplit(source), urlsplit(destination)
        s3_client.create_bucket(Bucket=there.netloc)
        key = there.path.removeprefix("/")
        s3_client.put_object(Bucket=there.netloc, Key=f"{key}one" if key.endswith("/") else key, Body=b"1")
        with BlobServiceClient.from_connection_string(azure_server.connection_string) as service:
            try:
                service.create_container(here.netloc)
            except ResourceExistsError:
                pass

    return make


@pytest.mark.slow
def test_our_commands_run(cloud: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """Each s3-to-azure command of the pages runs unchanged against the local servers."""
    assert {command.words[1] for command in _RUNS} >= {"copy", "plan", "verify"}
    for command in _RUNS:
        # tests/cli/test_checksums_from.py and test_inventory.py make the reports that these need, and
        # test_presigned_urls.py the URLs.
        made_elsewhere = {"--checksums-from", "--inventory", "--urls-from"}
        if command.words[1] == "certificate" or made_elsewhere & set(command.words):
            continue
        if any(word.startswith("https://") and "X-Amz-" in word for word in command.words):
            continue
        if command.words[1:] == ("--version",):
            with pytest.raises(SystemExit, match="0"):
                main(command.words[1:])
            assert capsys.readouterr().out == f"{__version__}\n"
            continue
        options = command_line().parse_args(command.words[1:])
        # `ls` has one address.
        cloud(options.source, getattr(options, "destination", None) or "az://archive/")
        if "--events" in command.words:
            # The state of a migration with events, which has no run yet.
            cloud(options.source, command.words[command.words.index("--events") + 1])
        # A page's verify or comparison follows a copy.
        if command.words[1] in ("verify", "compare"):
            assert main(["copy", *command.words[2:4], "--quiet"]) == OK, command
        assert main(command.words[1:]) == OK, command
        out = capsys.readouterr().out.splitlines()
        assert out, command
        if options.json and command.words[1] == "copy":
            assert [json.loads(line)["status"] for line in out] == ["copied"]


def test_inline_options_exist() -> None:
    """Each option in the prose is an option of the parser."""
    known = {
        option for name in ("copy", "plan", "verify", "key", "certificate", "compare") for option in _options(name)
    } | {
        "--help",
        "--version",
    }
    for page in sorted({block.page for block in blocks()}):
        for words in re.findall(r"`s3-to-azure ([^`]*)`", text_of(page)):
            assert set(re.findall(r"--[a-z-]+", words)) <= known, (page, words)


def _options(command: str) -> set[str]:
    (commands,) = (action.choices for action in command_line()._actions if isinstance(action.choices, dict))
    return {option for action in commands[command]._actions for option in action.option_strings}
