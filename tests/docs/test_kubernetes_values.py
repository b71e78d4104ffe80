"""deploy/kubernetes-values.yaml has keys that the chart documents, settings of Airflow, and enough memory."""

from collections.abc import Iterator
from typing import Any

import yaml  # type: ignore[import-untyped] # its types are a package of their own
from airflow.configuration import conf

from s3_to_azure import __version__
from tests.docs.pages import ROOT

_VALUES = yaml.safe_load((ROOT / "deploy/kubernetes-values.yaml").read_text(encoding="utf-8"))
_COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
# Keys that the official chart 1.22 documents: parameters reference, customising workers, release notes since 1.19.
_DOCUMENTED = {
    "airflowVersion",
    "apiSecretKeySecretName",
    "config.*",
    "dags.gitSync.branch",
    "dags.gitSync.enabled",
    "dags.gitSync.repo",
    "dags.gitSync.subPath",
    "data.metadataSecretName",
    "executor",
    "extraEnvFrom",
    "fernetKeySecretName",
    "images.airflow.repository",
    "images.airflow.tag",
    "jwtSecretName",
    "postgresql.enabled",
    "triggerer.enabled",
    "workers.celery.labels.*",
    "workers.celery.persistence.enabled",
    "workers.celery.replicas",
    "workers.celery.resources.*",
    "workers.celery.serviceAccount.annotations.*",
    "workers.celery.serviceAccount.create",
    "workers.celery.terminationGracePeriodSeconds",
}


def _paths(value: Any, path: str = "") -> Iterator[str]:
    if any(known.removesuffix(".*") == path for known in _DOCUMENTED):
        yield f"{path}.*" if f"{path}.*" in _DOCUMENTED else path
    elif isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _paths(inner, f"{path}.{name}".removeprefix("."))
    else:
        yield path


def test_keys_are_documented_by_the_chart() -> None:
    """The chart's schema refuses an unknown key, or the chart ignores it."""
    assert set(_paths(_VALUES)) == _DOCUMENTED


def test_the_rendered_string_is_yaml() -> None:
    """ExtraEnvFrom is a string that the chart puts into the pods."""
    (source,) = yaml.safe_load(_VALUES["extraEnvFrom"])
    assert source == {"secretRef": {"name": "s3-to-azure-connections"}}


def test_settings_exist_in_airflow_and_equal_those_of_compose() -> None:
    """The settings that let a copy survive an outage equal those of Compose, where they are tested."""
    compose = _COMPOSE["services"]["airflow-scheduler"]["environment"]
    for section, settings in _VALUES["config"].items():
        for name, value in settings.items():
            options = conf.configuration_description[section]["options"]
            assert name in options or section == "celery_broker_transport_options", (section, name)
            if section in ("workers", "scheduler", "execution_api", "celery_broker_transport_options"):
                assert compose[f"AIRFLOW__{section.upper()}__{name.upper()}"] == str(value)


def test_memory_holds_the_tasks() -> None:
    """A worker's memory holds its tasks and the worker itself."""
    resources = _VALUES["workers"]["celery"]["resources"]
    gibibytes = int(resources["limits"]["memory"].removesuffix("Gi"))
    tasks = _VALUES["config"]["celery"]["worker_concurrency"]
    assert gibibytes * 1024 >= tasks * (256 + 350) + 256
    assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_versions_match_the_project() -> None:
    """The image's tag is this version; the Airflow version is the Dockerfile's."""
    assert _VALUES["images"]["airflow"]["tag"] == __version__
    assert f"apache/airflow:{_VALUES['airflowVersion']}" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
