"""The signing key of a migration: in a file, or in a connection's password."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from s3_to_azure.airflow.signing import load_signing_key
from s3_to_azure.model.errors import UsageError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def raw(setting: str) -> bytes:
    """Return the key's bytes."""
    key = load_signing_key(setting)
    assert key
    return key.private_bytes_raw()


@pytest.mark.parametrize("setting", [None, ""])
def test_without_a_setting_there_is_no_key(setting: str | None) -> None:
    """The certificate is unsigned."""
    assert load_signing_key(setting) is None


def test_a_path_is_a_file(tmp_path: Path) -> None:
    """It has a slash, which no connection's id has."""
    path = tmp_path / "signing.pem"
    path.write_text(PEM)
    assert raw(str(path)) == KEY.private_bytes_raw()
    path.write_text("something else")
    with pytest.raises(UsageError, match=r"signing\.pem' is no unencrypted Ed25519 private key"):
        load_signing_key(str(path))
    with pytest.raises(UsageError, match="This worker cannot read the signing key '/missing': No such file"):
        load_signing_key("/missing")


@pytest.mark.parametrize("line", [PEM.split("\n")[1], PEM.replace("\n", "%0A")])
def test_another_text_is_a_connection(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """The password is the key, in one line or in PEM."""
    quoted = line.replace("+", "%2B").replace("/", "%2F").replace(" ", "%20")
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT", f"generic://:{quoted}@")
    assert raw("audit") == KEY.private_bytes_raw()


def test_a_connection_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing one, and one whose password is something else."""
    with pytest.raises(UsageError, match="the Airflow connection 'missing' does not exist"):
        load_signing_key("missing")
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT", "generic://:sesame@")
    with pytest.raises(UsageError, match="The password of the Airflow connection 'audit'") as caught:
        load_signing_key("audit")
    assert "sesame" not in str(caught.value)
