"""deploy/kubernetes-values.yaml has keys that the chart documents, settings of Airflow, and enough memory."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own
from airflow.configuration import conf

from s3_to_azure import __version__
from tests.docs.pages import ROOT

_VALUES = yaml.safe_load((ROOT / "deploy/kubernetes-values.yaml").read_text(encoding="utf-8"))
_COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
_POLICY = yaml.safe_load((ROOT / "deploy/kubernetes-network-policy.yaml").read_text(encoding="utf-8"))
# Keys that the official chart 1.22 documents: parameters reference, customising workers, release notes since 1.19.
_DOCUMENTED = {
    "airflowVersion",
    "apiSecretKeySecretName",
    "apiServer.apiServerConfig",
    "apiServer.env",
    "apiServer.extraVolumeMounts",
    "apiServer.extraVolumes",
    "apiServer.networkPolicy.ingress.from",
    "apiServer.resources.*",
    "config.*",
    "createUserJob.defaultUser.enabled",
    "dagProcessor.resources.*",
    "dags.gitSync.branch",
    "dags.gitSync.enabled",
    "dags.gitSync.repo",
    "dags.gitSync.securityContexts.container.*",
    "dags.gitSync.subPath",
    "data.metadataSecretName",
    "data.resultBackendSecretName",
    "enableBuiltInSecretEnvVars.*",
    "executor",
    "extraEnvFrom",
    "fernetKeySecretName",
    "images.airflow.repository",
    "images.airflow.tag",
    "jwtSecretName",
    "networkPolicies.enabled",
    "postgresql.enabled",
    "scheduler.env",
    "scheduler.extraVolumeMounts",
    "scheduler.extraVolumes",
    "scheduler.resources.*",
    "securityContexts.containers.*",
    "triggerer.enabled",
    "triggerer.resources.*",
    "volumeMounts",
    "volumes",
    "workers.celery.env",
    "workers.celery.labels.*",
    "workers.celery.persistence.enabled",
    "workers.celery.replicas",
    "workers.celery.resources.*",
    "workers.celery.serviceAccount.annotations.*",
    "workers.celery.serviceAccount.create",
    "workers.celery.terminationGracePeriodSeconds",
    "workers.celery.waitForMigrations.enabled",
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


def test_containers_are_confined() -> None:
    """Airflow's containers have no root, capabilities or new privileges, and cannot write into their image."""
    context = _VALUES["securityContexts"]["containers"]
    assert context["runAsNonRoot"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {mount["name"]: mount["mountPath"] for mount in _VALUES["volumeMounts"]} == {"tmp": "/tmp"}
    git_sync = _VALUES["dags"]["gitSync"]["securityContexts"]["container"]
    assert git_sync["allowPrivilegeEscalation"] is False
    assert git_sync["capabilities"] == {"drop": ["ALL"]}


def test_each_component_has_a_memory_limit() -> None:
    """No component can take a node's memory; what is limited is also reserved."""
    for component in ("apiServer", "scheduler", "dagProcessor", "triggerer"):
        resources = _VALUES[component]["resources"]
        assert resources["limits"]["memory"] == resources["requests"]["memory"]


def test_only_api_server_and_scheduler_get_the_token_key() -> None:
    """The chart sets the key in no pod; the two components that sign read it from a mounted Secret."""
    assert _VALUES["enableBuiltInSecretEnvVars"] == {"AIRFLOW__API_AUTH__JWT_SECRET": False}
    holders = {name for name, value in _VALUES.items() if "AIRFLOW__API_AUTH__JWT_SECRET_CMD" in str(value)}
    assert holders == {"apiServer", "scheduler"}
    for name in holders:
        (volume,) = _VALUES[name]["extraVolumes"]
        (mount,) = _VALUES[name]["extraVolumeMounts"]
        assert _VALUES["jwtSecretName"] in str(volume)
        assert mount["readOnly"] is True
        assert f"cat {mount['mountPath']}/jwt-secret" in str(_VALUES[name]["env"])
    assert {name for name, value in _VALUES.items() if "airflow-session-key" in str(value)} == {"apiServer"}


def test_session_key_is_random_without_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the Secret is not mounted, the configuration never falls back to the key that all pods share."""
    monkeypatch.setattr("pathlib.Path.is_file", lambda _: False)
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    for namespace in (first, second):
        exec(_VALUES["apiServer"]["apiServerConfig"], namespace)
    assert len(first["SECRET_KEY"]) == 64
    assert first["SECRET_KEY"] != second["SECRET_KEY"]


def test_api_server_accepts_the_other_components() -> None:
    """With network policies on, the chart lets nobody reach the api-server unless a rule names them."""
    assert _VALUES["networkPolicies"] == {"enabled": True}
    assert _VALUES["apiServer"]["networkPolicy"]["ingress"]["from"] == [
        {"podSelector": {"matchLabels": {"tier": "airflow"}}}
    ]


def test_workers_need_no_database() -> None:
    """Results go to Redis, and nothing at a worker's start waits for the database."""
    assert _VALUES["data"]["resultBackendSecretName"] == "airflow-result-backend"
    celery = _VALUES["workers"]["celery"]
    assert celery["waitForMigrations"] == {"enabled": False}
    assert celery["env"] == [{"name": "CONNECTION_CHECK_MAX_COUNT", "value": "0"}]


def test_workers_may_connect_to_what_they_need_only() -> None:
    """The policy lists name servers, api-server, Redis and HTTPS, and excludes the cloud's metadata address."""
    spec = _POLICY["spec"]
    assert _POLICY["kind"] == "NetworkPolicy"
    assert spec["policyTypes"] == ["Egress"]
    assert spec["podSelector"]["matchLabels"]["component"] == "worker"
    allowed = [({port["port"] for port in rule["ports"]}, rule["to"]) for rule in spec["egress"]]
    by_port = {min(ports): targets for ports, targets in allowed}
    assert all(len(ports) == 1 for ports, _ in allowed)
    assert by_port.keys() == {53, 443, 6379, 8080}
    assert by_port[8080][0]["podSelector"]["matchLabels"]["component"] == "api-server"
    assert by_port[6379][0]["podSelector"]["matchLabels"]["component"] == "redis"
    assert by_port[443] == [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]


def test_versions_match_the_project() -> None:
    """The image's tag is this version; the Airflow version is the Dockerfile's."""
    assert _VALUES["images"]["airflow"]["tag"] == __version__
    assert f"apache/airflow:{_VALUES['airflowVersion']}" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
