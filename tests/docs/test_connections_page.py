"""Each connection of the pages on connections and recipes authenticates as its section says; policies are valid."""

import json
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import BaseSessionFactory

from s3_to_azure.airflow.azure_hook import azure_service
from s3_to_azure.airflow.s3_hook import s3_source
from tests.docs.pages import Block, blocks, text_of

_JSON = [block for block in blocks("json") if block.page in ("docs/connections.md", "docs/recipes.md")]
_CONNECTIONS = [block for block in _JSON if "conn_type" in block.text]


def _section(block: Block) -> str:
    before = text_of(block.page).splitlines()[: block.line]
    return next(line.lstrip("# ") for line in reversed(before) if line.startswith(("## ", "### ")))


# The authentication method by section: botocore's name of it, or the credential's class.
_WAYS = {
    "Access keys": "explicit",
    "A role, assumed with keys or with the worker's own identity": "sts-assume-role",
    "Web identity (OIDC), IRSA on EKS": "assume-role-with-web-identity",
    "Instance profile, task role, environment of the worker": "env",
    "A role in another AWS account": "sts-assume-role",
    "Private endpoints": "env",
    "An S3-compatible store": "explicit",
    "Account key": "SharedKeyCredentialPolicy",
    "SAS": "AzureSasCredential",
    "Connection string": "SharedKeyCredentialPolicy",
    "Service principal": "ClientSecretCredential",
    "Managed identity": "DefaultAzureCredential",
    "Workload identity on AKS": "DefaultAzureCredential",
}


@pytest.fixture(autouse=True)
def _worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the worker an identity, and replace STS."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "worker")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    answer = {"access_key": "a", "secret_key": "s", "token": "t", "expiry_time": "2100-01-01T00:00:00+00:00"}
    monkeypatch.setattr(BaseSessionFactory, "_refresh_credentials", lambda _self: answer)


@pytest.mark.parametrize("block", _CONNECTIONS, ids=str)
def test_connections_sign_in_as_their_section_says(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """The locked provider's hook reads the JSON and makes the credential of the section's heading."""
    monkeypatch.setenv("AIRFLOW_CONN_OF_THE_PAGE", block.text)
    assert _signs_in(json.loads(block.text)["conn_type"]) == _WAYS[_section(block)]


def _signs_in(conn_type: str) -> Any:
    if conn_type == "aws":
        source = s3_source("of_the_page", connections=1)
        try:
            return source._addresses._credentials.method
        finally:
            source.close()
    service = azure_service("of_the_page", connections=1)
    try:
        return type(service.credential).__name__
    finally:
        service.close()


def test_every_way_has_a_connection() -> None:
    """Each section of these has its JSON."""
    assert {_section(block) for block in _CONNECTIONS} == set(_WAYS)


@pytest.mark.parametrize("block", [block for block in _JSON if '"Statement"' in block.text], ids=str)
def test_policies_are_policies(block: Block) -> None:
    """Each statement allows named actions on named resources, never everything."""
    policy = json.loads(block.text)
    assert policy["Version"] == "2012-10-17"
    for statement in policy["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert statement["Effect"] == "Allow"
        assert all(action.partition(":")[2] and "*" not in action for action in actions)
        assert statement.get("Resource", statement.get("Principal")) != "*"


def test_the_custom_role_deletes_nothing() -> None:
    """The narrow role reads and writes blobs, no more."""
    (block,) = [block for block in _JSON if "DataActions" in block.text]
    role = json.loads(block.text)
    assert [action.rpartition("/")[2] for action in role["DataActions"]] == ["read", "write"]
    assert role["Actions"] == []
