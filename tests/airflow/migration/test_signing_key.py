"""What a migration's ``signing_key`` may name; a plan fails before anything is copied if it cannot sign."""

import json
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.storage.blob import ContainerClient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from s3_to_azure.airflow.azure_hook import azure_service
from s3_to_azure.airflow.migration.dag_tasks import RunSettings, plan_run, report_run
from s3_to_azure.airflow.migration.signing_key import load_signing_key, opened_signer
from s3_to_azure.model.errors import AccessDenied, SomeObjectsFailed, UsageError
from s3_to_azure.runs.certificate import read_certificate
from s3_to_azure.runs.signatures import FileKey, public_key_of
from s3_to_azure.stores.azure import key_vault as vault_module
from tests.airflow.migration.test_dag_tasks import Task, pointer, settings
from tests.certificates import certified
from tests.fakes.key_services import ARN, key_vault, kms

__all__ = ["pointer", "settings"]

SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = SIGNING_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize("setting", [None, ""])
def test_without_a_setting_there_is_no_key(setting: str | None, connections: dict[str, Any]) -> None:
    """The certificate is unsigned."""
    with (
        closing(azure_service(connections["wasb_conn_id"], connections=1)) as service,
        opened_signer(setting, service, aws_conn_id=None, s3_verify=None, stop=threading.Event()) as signer,
    ):
        assert signer is None


def test_a_path_is_a_file(tmp_path: Path) -> None:
    """It has a slash, which no connection's id has."""
    path = tmp_path / "signing.pem"
    path.write_text(PEM)
    assert load_signing_key(str(path)).public_key() == FileKey(SIGNING_KEY).public_key()
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
    assert load_signing_key("audit").public_key() == FileKey(SIGNING_KEY).public_key()


def test_a_connection_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing one, and one whose password is something else."""
    with pytest.raises(UsageError, match="the Airflow connection 'missing' does not exist"):
        load_signing_key("missing")
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT", "generic://:sesame@")
    with pytest.raises(UsageError, match="The password of the Airflow connection 'audit'") as caught:
        load_signing_key("audit")
    assert "sesame" not in str(caught.value)


def certificate_of(container: ContainerClient) -> bytes:
    """Return the certificate of the only run."""
    (name,) = (name for name in container.list_blob_names() if name.endswith("/certificate.json"))
    data: bytes = container.download_blob(name).readall()
    return data


def test_a_key_in_kms_signs(
    settings: RunSettings,
    pointer: dict[str, Any],
    container: ContainerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the identity of the AWS connection; a plan that may not sign copies nothing, and no report is unsigned."""
    with kms() as service:
        extra = {"region_name": "us-east-1", "service_config": {"kms": {"endpoint_url": service.url}}}
        aws = {"conn_type": "aws", "login": "test", "password": "test", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_KEYS", json.dumps(aws))
        signed = replace(settings, signing_key=f"{ARN}1234", aws_conn_id="aws_keys")
        denied = 400, {"__type": "AccessDeniedException", "message": "not authorized to perform: kms:Sign"}
        service.refusals["Sign"] = [denied]
        with pytest.raises(AccessDenied, match="kms:GetPublicKey and kms:Sign on it"):
            plan_run(pointer, signed, Task().context)
        assert not any("/plan" in name for name in container.list_blob_names())
        plan_run(pointer, signed, Task().context)
        service.refusals["Sign"] = [denied]
        with pytest.raises(AccessDenied):
            report_run(pointer, signed, Task().context, keep_state_days=None)
        assert not any(name.endswith("/certificate.json") for name in container.list_blob_names())
        with pytest.raises(SomeObjectsFailed):
            report_run(pointer, signed, Task().context, keep_state_days=None)
        public = service.key.public_key()
    found = read_certificate(certificate_of(container))
    assert (found.key.algorithm, found.receipts) == ("ES256", 3)
    numbers = public.public_numbers()
    assert found.public_key == f"04{numbers.x:064x}{numbers.y:064x}"


def test_a_key_in_key_vault_signs(
    settings: RunSettings,
    pointer: dict[str, Any],
    container: ContainerClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """With the machine's own identity where the storage account is opened with a key; over TLS that is verified."""

    class Identity:
        def get_token(self, *_: str, **__: Any) -> AccessToken:
            return AccessToken("token", 2**40)

        def close(self) -> None:
            """Do nothing."""

    monkeypatch.setattr(vault_module, "DefaultAzureCredential", Identity)
    certificate = certified(tmp_path / "vault.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with key_vault(certificate) as vault:
        signed = replace(settings, signing_key=vault.address)
        plan_run(pointer, signed, Task().context)
        with pytest.raises(SomeObjectsFailed):
            report_run(pointer, signed, Task().context, keep_state_days=None)
    assert read_certificate(certificate_of(container)).key.algorithm == "ES256"


def test_the_signer_of_a_file_is_the_files_key(tmp_path: Path, connections: dict[str, Any]) -> None:
    """The same way as for the services."""
    path = tmp_path / "signing.pem"
    path.write_text(PEM)
    with (
        closing(azure_service(connections["wasb_conn_id"], connections=1)) as service,
        opened_signer(str(path), service, aws_conn_id=None, s3_verify=None, stop=threading.Event()) as signer,
    ):
        assert signer
        assert public_key_of(signer).data == SIGNING_KEY.public_key().public_bytes_raw()
