"""Workflows, hooks and forms run what a developer runs, and say what the project says of itself."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own

from tests.airflow_matrix.rows import ROWS

ROOT: Final = Path(__file__).resolve().parents[2]
MAKEFILE: Final = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOWS: Final = sorted((ROOT / ".github/workflows").iterdir())
FORMS: Final = sorted(set((ROOT / ".github/ISSUE_TEMPLATE").iterdir()) - {ROOT / ".github/ISSUE_TEMPLATE/config.yml"})
# Steps that need root, and why.
_AS_ROOT: Final = {"test-tools": "installs packages of the distribution"}


def _load(path: Path) -> Any:
    # YAML 1.1 reads a workflow's `on` as true.
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    jobs: dict[str, dict[str, Any]] = _load(workflow)["jobs"]
    return jobs


def _runs(workflow: Path) -> Iterator[str]:
    for job in _jobs(workflow).values():
        yield from (step["run"] for step in job["steps"] if "run" in step)


def _pythons() -> set[str]:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    return {found[1] for name in classifiers if (found := re.fullmatch(r".* :: Python :: (3\.\d+)", name))}


def _check_lines() -> list[str]:
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe
    lines = [line.strip().removeprefix("@") for line in recipe[1].splitlines()]
    return [line.replace("$(PYTHON_BIN)", ".venv/bin/python").replace("$(MAKE)", "make") for line in lines]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_step_is_a_make_target(workflow: Path) -> None:
    """Nothing happens on GitHub alone: each `run` is one target that the Makefile lists."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    runs = list(_runs(workflow))
    assert runs
    for run in runs:
        found = re.fullmatch(r"(sudo )?make ([a-z-]+)", run)
        assert found, run
        assert found[2] in targets
        assert bool(found[1]) == (found[2] in _AS_ROOT), run


def test_ci_runs_what_a_change_must_pass() -> None:
    """The checks that a developer is asked for are steps of CI."""
    asked = set(re.findall(r"^step (make \S+)$", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE))
    runs = set(_runs(ROOT / ".github/workflows/ci.yml"))
    assert asked
    assert asked | {"make docs", "make wheel", "make wheel-check", "make sbom"} <= runs


def test_the_release_is_checked_before_it_is_published() -> None:
    """The tag, the build and the wheel come first, in this order; publishing waits for them and for the attestation."""
    jobs = _jobs(ROOT / ".github/workflows/release.yml")
    order = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert order == ["make release-check", "make wheel", "make wheel-check", "make sbom"]
    assert jobs["attest"]["needs"] == "build"
    assert set(jobs["publish"]["needs"]) == {"build", "attest"}
    assert jobs["publish"]["environment"]["name"] == "pypi"


def test_python_versions_are_the_package_s() -> None:
    """Classifiers and requires-python name the same Pythons; each is run by CI or by the matrix."""
    jobs = _jobs(ROOT / ".github/workflows/ci.yml")
    developed = set(re.findall(r"python(3\.\d+)", re.findall(r"for python in (.*);", MAKEFILE)[0]))
    assert set(jobs["test"]["strategy"]["matrix"]["python"]) == developed
    assert set(jobs["airflow"]["strategy"]["matrix"]["python"]) == developed
    assert developed | {row.python for row in ROWS} == _pythons()
    minors = sorted(int(version.removeprefix("3.")) for version in _pythons())
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert needs == f">=3.{minors[0]},<3.{minors[-1] + 1}"


def test_airflow_versions_are_those_with_a_lock() -> None:
    """Each row of the matrix has a lock, and each lock a row."""
    locks = dict(re.findall(r"^AIRFLOW_LOCK_(\S+) := (\S+)$", MAKEFILE, re.MULTILINE))
    matrix = _jobs(ROOT / ".github/workflows/ci.yml")["airflow"]["strategy"]["matrix"]["airflow"]
    assert set(matrix) == set(locks)
    for version, lock in locks.items():
        assert re.search(rf"^apache-airflow=={re.escape(version)}\.", (ROOT / lock).read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_have_as_few_rights_as_they_need(workflow: Path) -> None:
    """No right by default, no credentials left in a checkout, an end to each job; only a release writes."""
    assert _load(workflow)["permissions"] == {}
    may_write = {("release.yml", "attest"): {"attestations", "id-token"}, ("release.yml", "publish"): {"id-token"}}
    for name, job in _jobs(workflow).items():
        writes = {right for right, level in job["permissions"].items() if level == "write"}
        assert writes == may_write.get((workflow.name, name), set()), name
        assert set(job["permissions"].values()) <= {"read", "write"}
        assert job["timeout-minutes"] <= 60
        # What holds a right to write runs none of this repository's code.
        assert not (writes and any("run" in step for step in job["steps"])), name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
    assert "concurrency" in _load(workflow)


def test_hooks_run_what_make_check_runs() -> None:
    """Each line of `make check` is a hook, and each hook such a line."""
    (repository,) = _load(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    hooks = repository["hooks"]
    assert sorted(hook["entry"] for hook in hooks) == sorted(_check_lines())
    assert len({hook["id"] for hook in hooks}) == len(hooks)
    for hook in hooks:
        assert hook["language"] == "system"
        assert hook["pass_filenames"] is False


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_such(form: Path) -> None:
    """GitHub shows a form only if it has name, description, and fields with labels and ids of their own."""
    read = _load(form)
    assert {"name", "description", "body"} <= set(read)
    fields = [field for field in read["body"] if field["type"] != "markdown"]
    assert all(field["type"] in {"checkboxes", "dropdown", "input", "textarea"} for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
    labels = [field["attributes"]["label"] for field in fields]
    assert len(set(labels)) == len(labels)
    assert any(field.get("validations", {}).get("required") for field in fields)
    for field in fields:
        if field["type"] in {"checkboxes", "dropdown"}:
            assert len(field["attributes"]["options"]) > 1


def test_dependabot_looks_where_manifests_are() -> None:
    """Each folder that it is told to look into holds a manifest of that kind."""
    manifests = {"docker": "Dockerfile", "npm": "package.json", "pip": "requirements.txt"}
    updates = _load(ROOT / ".github/dependabot.yml")["updates"]
    kinds = {update["package-ecosystem"] for update in updates}
    assert kinds == {*manifests, "github-actions"}
    for update in updates:
        for folder in update.get("directories") or [update["directory"]]:
            if update["package-ecosystem"] in manifests:
                assert (ROOT / folder.strip("/") / manifests[update["package-ecosystem"]]).is_file(), folder
