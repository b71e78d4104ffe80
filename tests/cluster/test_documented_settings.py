"""The documented settings by which a transfer survives an outage are those of docker-compose.yaml, which tests run."""

import configparser
import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own

from tests.cluster.airflow_cluster import ROOT, compose_settings

HEARTBEATS = "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"
BROKER = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"


def _of_page() -> dict[str, Mapping[str, Any]]:
    page = (ROOT / "docs/operations.md").read_text()
    section = page.split("## Surviving an outage of the API server")[1].split("\n## ")[0]
    parser = configparser.ConfigParser()
    parser.read_string("".join(re.findall(r"```ini\n(.*?)```", section, flags=re.DOTALL)))
    return {name: dict(parser[name]) for name in parser.sections()}


def _of_helm() -> dict[str, Mapping[str, Any]]:
    config: dict[str, Mapping[str, Any]] = yaml.safe_load((ROOT / "deploy/kubernetes-values.yaml").read_text())[
        "config"
    ]
    return config


@pytest.mark.parametrize("read", [_of_page, _of_helm])
def test_outage_settings_are_the_same_everywhere(read: Any) -> None:
    """The operations page and the Helm values have the settings of the compose file."""
    composed = compose_settings()
    documented = {
        f"AIRFLOW__{part}__{name}".upper(): str(value) for part, of in read().items() for name, value in of.items()
    }
    needed = {name for name in composed if name.startswith(("AIRFLOW__WORKERS__", "AIRFLOW__EXECUTION_API__"))}
    needed |= {HEARTBEATS, BROKER}
    assert {name: documented.get(name) for name in needed} == {name: composed[name] for name in needed}
