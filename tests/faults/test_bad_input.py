"""Any command line gives an exit status and a sentence, and sends no request outside bucket and container."""

import os
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import FAILED, NOTHING_MATCHED, OK, USAGE_ERROR
from tests.faults.conftest import Clouds
from tests.faults.faulty_proxy import FaultyProxy

PIECES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
    st.sampled_from(
        ["../", "..", "./", "/", "//", "%2e%2e/", "%2F..%2F", "?comp=list", "#x", "\\..\\", "..%5c", ";", "k"]
    ),
)
NAMES = st.lists(PIECES, max_size=5).map("".join)
VALUES = st.one_of(
    st.text(max_size=8), st.sampled_from(["0", "-1", "1MiB", "1e400", "crc32", "always", "map", "9" * 30])
)
OPTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["--memory-budget", "--block-size", "--integrity", "--overwrite", "--connections", "--objects-at-once"]
        ),
        VALUES,
    ),
    max_size=1,
)


@pytest.fixture
def from_environment(clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> Clouds:
    """Configure the process by environment variables for both services behind proxies."""
    server = clouds.azure_server
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", clouds.s3.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        f"DefaultEndpointsProtocol=http;AccountName={server.account_name};"
        f"AccountKey={server.account_key};BlobEndpoint={clouds.azure.url};",
    )
    return clouds


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run the command line; return its exit status and what it wrote to standard error."""
    try:
        status = main(arguments)
    except SystemExit as ended:
        # argparse's own refusals.
        status = int(ended.code or 0)
    return status, capsys.readouterr().err


def outside(proxy: FaultyProxy, place: str) -> list[str]:
    """Return the paths of requests that are not below ``place``."""
    paths = [(request.path, urlsplit(request.path).path) for request in proxy.seen]
    return [
        whole
        for whole, path in paths
        # The lookup of the account's kind is the only request above the containers.
        if not (path == place or path.startswith(f"{place}/") or whole.endswith("/?restype=account&comp=properties"))
    ]


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(command=st.sampled_from(["copy", "plan", "verify"]), key=NAMES, blob=NAMES, options=OPTIONS)
def test_invariant_8_no_request_leaves_bucket_and_container(
    from_environment: Clouds,
    capsys: pytest.CaptureFixture[str],
    command: str,
    key: str,
    blob: str,
    options: list[tuple[str, str]],
) -> None:
    """No key, blob name or option leads to a traceback or to a request elsewhere."""
    clouds = from_environment
    bucket, container = clouds.bucket, str(clouds.container.container_name)
    more = [f"{name}={value}" for name, value in options]
    # Where S3 accepts the key, an object exists, so that its blob is written too.
    with suppress(ClientError, ParamValidationError):
        clouds.s3_client.put_object(Bucket=bucket, Key=key, Body=b"x")
    status, told = run([command, f"s3://{bucket}/{key}", f"az://{container}/{blob}", *more], capsys)
    assert status in (OK, FAILED, USAGE_ERROR, NOTHING_MATCHED)
    assert "Traceback" not in told
    assert status == OK or told.strip()
    assert outside(clouds.s3, f"/{bucket}") == []
    assert outside(clouds.azure, f"/{clouds.azure_server.account_name}/{container}") == []


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arguments=st.lists(
        st.one_of(
            st.sampled_from(["copy", "plan", "verify", "--json", "-q", "--keys-from", "s3://"]), st.text(max_size=9)
        ),
        max_size=5,
    )
)
def test_any_words_are_usage_error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Words that name no source and no destination end with exit status 2 and a sentence, or ask for help."""
    status, told = run(arguments, capsys)
    assert status == USAGE_ERROR or any(word in ("-h", "--help", "--version") for word in arguments)
    assert "Traceback" not in told


def test_requests_elsewhere_are_found(clouds: Clouds) -> None:
    """A request to another bucket is found, so the test of invariant 8 can fail."""
    clouds.s3_client.create_bucket(Bucket=f"{clouds.bucket}-2")
    clouds.source.check(f"{clouds.bucket}-2")
    assert outside(clouds.s3, f"/{clouds.bucket}") != []
