"""The locks hold hashes of every package; the bill of materials and the release's check say no when they must."""

import importlib.util
import json
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
LOCKS: Final = ("requirements.txt", "requirements-dev.txt", "local_cloud/requirements.txt")


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f".ci/{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_release, check_sbom = _script("check_release"), _script("check_sbom")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_hashes(lock: str) -> None:
    """Installers refuse a file that is not among them."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    packages = check_sbom.locked(text)
    assert len(packages) == len(re.findall(r"^[a-zA-Z0-9]", text, re.MULTILINE)) > 50
    assert all(packages.values())


def test_every_installation_checks_them() -> None:
    """Nothing installs a lock without asking for hashes."""
    for name in ("Makefile", "Dockerfile"):
        text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
        installs = re.findall(r".*pip (?:sync|install .*--requirement).*", text)
        assert installs
        assert all("--require-hashes" in line for line in installs), installs


def _bill(packages: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    return {
        "components": [
            {
                "name": name,
                "version": version,
                "externalReferences": [{"hashes": [{"alg": "SHA-256", "content": digest}]}],
            }
            for name, version, digest in packages
        ]
    }


@pytest.mark.parametrize(
    ("packages", "status"),
    [
        ([("one", "1.0", "a" * 64), ("two", "2.0", "b" * 64)], 0),
        ([("one", "1.0", "a" * 64)], 1),
        ([("one", "1.0", "a" * 64), ("two", "2.1", "b" * 64)], 1),
        ([("one", "1.0", "a" * 64), ("two", "2.0", "c" * 64)], 1),
        ([("one", "1.0", "a" * 64), ("two", "2.0", "b" * 64), ("three", "3", "d" * 64)], 1),
    ],
    ids=["the same", "one is missing", "another version", "another file", "one too many"],
)
def test_the_bill_of_materials_is_the_lock(packages: list[tuple[str, str, str]], status: int, tmp_path: Path) -> None:
    """`make sbom` fails unless both hold the same packages with the same files."""
    lock, bill = tmp_path / "lock.txt", tmp_path / "sbom.json"
    lines = [
        f"{name}=={version}{marker} \\\n    --hash=sha256:{digest * 64}\n    # via us\n"
        for name, version, marker, digest in (("one", "1.0", "", "a"), ("two", "2.0", " ; os_name == 'nt'", "b"))
    ]
    lock.write_text("".join(lines), encoding="utf-8")
    bill.write_text(json.dumps(_bill(packages)), encoding="utf-8")
    assert check_sbom.main(bill, lock) == status


@pytest.mark.parametrize(
    ("tag", "title", "wrong"),
    [
        ("v1.2.3", "## [1.2.3] - 2026-12-31", []),
        ("v1.2.4", "## [1.2.3] - 2026-12-31", ["The tag"]),
        ("1.2.3", "## [1.2.3] - 2026-12-31", ["The tag"]),
        ("v1.2.3", "## [1.2.3] - unreleased", ["CHANGELOG"]),
        ("v1.2.3", "## [1.2.2] - 2026-12-31", ["CHANGELOG"]),
        ("", "", ["The tag", "CHANGELOG"]),
    ],
)
def test_a_release_needs_its_tag_and_its_section(tag: str, title: str, wrong: list[str]) -> None:
    """A tag that is not the package's version, or a changelog without a dated first section, stops the release."""
    changelog = f"# Changelog\n\n{title}\n\n## [1.0.0] - 2026-01-01\n"
    found = check_release.problems(tag, '"""Doc."""\n\n__version__ = "1.2.3"\n', changelog)
    assert [sentence.startswith(start) for sentence, start in zip(found, wrong, strict=True)] == [True] * len(wrong)
