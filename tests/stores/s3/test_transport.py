"""boto3's configuration becomes the settings of all requests to S3, its own included."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import LISTING_REQUESTS
from s3_to_azure.stores.http.settings import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, HttpSettings, Proxies
from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.transport import settings_of, use_settings
from tests.certificates import certified
from tests.real_stores import s3_session

OF_ENVIRONMENT = Proxies({"all": "http://environment:1"})
URL = "https://bucket.s3.amazonaws.com/k"


@contextmanager
def client_of(config: Config | None = None, **options: Any) -> Iterator[Any]:
    """Return a client as the source makes it."""
    given = {"config": botocore_config(3, config), "verify": True, "region_name": "us-east-1"} | options
    with closing(s3_session("access", "secret").client("s3", **given)) as client:
        yield client


def settings(config: Config | None = None, **options: Any) -> HttpSettings:
    """Return a client's settings."""
    with client_of(config, **options) as client:
        return settings_of(client, OF_ENVIRONMENT)


def test_without_a_configuration() -> None:
    """The general timeouts, and the environment's proxies."""
    found = settings()
    assert (found.verify, found.client_certificate, found.proxies) == (True, None, OF_ENVIRONMENT)
    assert (found.connect_timeout_s, found.read_timeout_s) == (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)


def test_timeouts() -> None:
    """The user's own are kept."""
    found = settings(Config(connect_timeout=3, read_timeout=4.5))
    assert (found.connect_timeout_s, found.read_timeout_s) == (3, 4.5)


@pytest.mark.parametrize(
    ("proxies", "expected"),
    [
        ({"https": "http://own:1"}, "http://own:1"),
        ({"http": "http://own:1"}, None),
        ({}, None),
        ({"https": "http://own:1", "no_proxy": "amazonaws.com"}, None),
        (None, "http://environment:1"),
    ],
)
def test_proxies(proxies: dict[str, str] | None, expected: str | None) -> None:
    """Those of the configuration replace those of the environment, also by none."""
    assert settings(Config(proxies=proxies)).proxies.for_url(URL) == expected


@pytest.mark.parametrize("kind", [tuple, list])
def test_certificates(tmp_path: Path, kind: type) -> None:
    """JSON has lists where botocore expects tuples."""
    path = str(certified(tmp_path / "both.pem"))
    both = kind((path, path))
    config = Config(
        client_cert=both,
        proxies_config={"proxy_ca_bundle": path, "proxy_client_cert": both, "proxy_use_forwarding_for_https": True},
    )
    found = settings(config, verify=path)
    assert (found.verify, found.client_certificate) == (path, (path, path))
    assert (found.proxy_verify, found.proxy_client_certificate, found.forwards_https) == (path, (path, path), True)
    assert settings(Config(client_cert=path)).client_certificate == path


def test_settings_that_cannot_work_are_refused_at_once() -> None:
    """Each request would fail."""
    for config, options in (
        (Config(proxies={"https": "socks5://p:1"}), {}),
        (Config(client_cert="/nowhere.pem"), {}),
        (None, {"verify": "/nowhere.pem"}),
    ):
        with pytest.raises(UsageError, match=r"socks5|/nowhere"):
            settings(config, **options)


def test_the_client_has_the_settings_itself() -> None:
    """Its session is replaced by one that takes proxies and trust from them, for each URL."""
    given = HttpSettings(proxies=Proxies({"all": "http://p:1"}, "s3.amazonaws.com"), connect_timeout_s=3)
    with client_of() as client:
        use_settings(client, given)
        session = client._endpoint.http_session
        assert session._proxy_config.proxy_url_for("https://s3.eu-west-1.amazonaws.com/") == "http://p:1"
        assert session._proxy_config.proxy_url_for(URL) is None
        assert session._manager.connection_pool_kw["ssl_context"] is given.tls_context()
        assert (session._timeout.connect_timeout, session._max_pool_connections) == (3, LISTING_REQUESTS)
