"""Each managed service can install the package with the versions that it has published."""

import tomllib
from datetime import date
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

from tests.airflow_matrix.places import PINS, PLACES, Place, resolve, table
from tests.airflow_matrix.run import build

PROJECT: Final = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
DIRECT: Final = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["airflow"])]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout."""
    return build(tmp_path_factory.mktemp("places"))


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_wheel_resolves_with_the_service_s_versions(place: Place, wheel: Path) -> None:
    """There is a solution, and it has the service's Airflow and each of its versions that the package uses."""
    versions, why = resolve(place, wheel)
    assert why == ""
    assert versions["apache-airflow"] == place.airflow
    assert {name: version for name, version in versions.items() if place.pins.get(name, version) != version} == {}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_no_requirement_is_above_the_service_s_version(place: Place) -> None:
    """The package accepts each version of a direct dependency that the service pins, and its Airflow and Python."""
    versions = {**place.pins, "apache-airflow": place.airflow}
    refused = [
        str(need) for need in DIRECT if need.name in versions and not need.specifier.contains(versions[need.name])
    ]
    assert refused == []
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(place.python)


def test_every_place_has_its_versions_with_source_and_date() -> None:
    """No file is without a place, and each says where its versions are from."""
    assert {place.file for place in PLACES} == set(PINS.glob("*.txt"))
    for place in PLACES:
        assert place.file.read_text().startswith("# Source: ")
        assert date.fromisoformat(place.dated)
        assert place.pins


def test_table_says_which_service_has_no_solution() -> None:
    """A place without a solution is a bold no."""
    first, second = PLACES[0], PLACES[1]
    lines = table({first.name: {"boto3": "1.2"}, second.name: {}}).splitlines()
    assert f"| 1.2 | yes | {first.dated} |" in lines[2]
    assert f"| **no** | {second.dated} |" in lines[3]
