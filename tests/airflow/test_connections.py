"""What both stores take from Airflow and from the worker's environment."""

from collections.abc import Callable

import pytest

from s3_to_azure.airflow.connections import environment, get_connection
from s3_to_azure.model.errors import ConnectionMissing, UsageError
from s3_to_azure.stores.http.redaction import redact


def test_an_airflow_connection_is_found(set_connection: Callable[..., str]) -> None:
    """Airflow itself looks it up, in the environment, the database or a secrets backend."""
    conn_id = set_connection("aws", login="a")
    connection = get_connection(conn_id, "S3", "aws", "or else")
    assert (connection.conn_type, connection.login) == ("aws", "a")


def test_a_missing_connection_is_named_with_its_cure() -> None:
    """The error says which type to create, and what else helps."""
    with pytest.raises(ConnectionMissing) as caught:
        get_connection("not_there", "S3", "aws", "or pass None")
    message = str(caught.value)
    assert "the Airflow connection 'not_there' does not exist" in message
    assert "Create it with type aws" in message
    assert "AIRFLOW_CONN_NOT_THERE" in message
    assert "or pass None." in message


def test_secrets_of_a_connection_are_masked_here_and_in_airflow(
    set_connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow itself does not know the key in a connection string, nor the password of a proxy."""
    masked: list[str] = []
    monkeypatch.setattr("s3_to_azure.airflow.connections.mask_secret", masked.append)
    extra = {
        "connection_string": "AccountName=a;AccountKey=S0VZLUtFWQ==;BlobEndpoint=https://h",
        "proxies": {"https": "http://corp:proxy-password@proxy:1"},
        "sse_customer_key": "customer-key",
    }
    conn_id = set_connection("wasb", login="login", password="the-password", extra=extra)
    get_connection(conn_id, "Azure", "wasb", "")
    secrets = {"S0VZLUtFWQ==", "proxy-password", "customer-key", "the-password"}
    assert secrets <= set(masked)
    assert "" not in masked
    assert redact(" ".join(sorted(secrets))) == "*** *** *** ***"


@pytest.mark.parametrize("field", ["password", "extra.aws_session_token"])
def test_a_connection_with_a_line_end_is_refused(set_connection: Callable[..., str], field: str) -> None:
    """As it comes from a file or a secret store; the error names the field, and not its value."""
    fields = {"password": "VALUE\n"} if field == "password" else {"extra": {"aws_session_token": "VALUE\n"}}
    conn_id = set_connection("aws", login="a", **fields)
    with pytest.raises(UsageError, match=f"The Airflow connection '{conn_id}': {field} has a line end") as caught:
        get_connection(conn_id, "S3", "aws", "")
    assert "VALUE" not in str(caught.value)


def test_the_environment_is_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points read it; what is below them gets values."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    assert environment()["HTTPS_PROXY"] == "http://proxy:1"
