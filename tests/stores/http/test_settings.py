"""Which proxy a URL is requested through, and settings that cannot be used."""

import shutil
import ssl
from pathlib import Path
from typing import Any

import certifi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import UsageError
from s3_to_azure.stores.http.settings import READ_TIMEOUT_S, HttpSettings, Proxies, ca_bundle
from tests.certificates import HOST, certified, issue

URL = "https://bucket.s3.eu-west-1.amazonaws.com/key?versionId=1"


@pytest.mark.parametrize(
    ("proxies", "expected"),
    [
        ({}, None),
        ({"http": "http://p:1"}, None),
        ({"https": "http://p:1"}, "http://p:1"),
        ({"HTTPS": " http://p:1 "}, "http://p:1"),
        ({"https": "HTTP://p:1"}, "http://p:1"),
        ({"https": "p:1"}, "http://p:1"),
        ({"https": "//p:1"}, "http://p:1"),
        ({"https": ""}, None),
        ({"all": "https://p:1"}, "https://p:1"),
        ({"https": "http://p:1", "all": "http://q:1"}, "http://p:1"),
        ({"https://bucket.s3.eu-west-1.amazonaws.com": "http://own:1", "https": "http://p:1"}, "http://own:1"),
        ({"https://another.host": "http://own:1", "https": "http://p:1"}, "http://p:1"),
        ({"https": "http://p:1", "no_proxy": "amazonaws.com"}, None),
        ({"https": "http://p:1", "no": "amazonaws.com"}, None),
    ],
)
def test_proxy_of_a_url(proxies: dict[str, str], expected: str | None) -> None:
    """By host, by scheme, or for all; a URL without a scheme is an HTTP proxy."""
    assert Proxies.of_mapping(proxies).for_url(URL) == expected


def test_proxy_of_another_kind_is_a_usage_error() -> None:
    """The message names the scheme, not the URL, which may contain a password."""
    with pytest.raises(UsageError, match="not socks5://") as refused:
        Proxies({"all": "socks5://user:secret@p:1"}).for_url(URL)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://p:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://q:1"}, None),
        ({"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ({"all_proxy": "http://p:1"}, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"HTTPS_PROXY": "http://user:pass@p:1"}, "http://user:pass@p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "amazonaws.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "amazonaws.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "", "NO_PROXY": "amazonaws.com"}, "http://p:1"),
        ({"NO_PROXY": "amazonaws.com"}, None),
        ({}, None),
    ],
)
def test_proxy_of_the_environment(environment: dict[str, str], expected: str | None) -> None:
    """Lower case takes precedence, also to unset a variable."""
    assert Proxies.of_environment(environment).for_url(URL) == expected


def test_exceptions_alone_are_no_proxy() -> None:
    """NO_PROXY changes nothing where there is no proxy."""
    assert not Proxies.of_environment({"NO_PROXY": "localhost"})
    assert Proxies.of_environment({"NO_PROXY": "localhost", "HTTP_PROXY": "p:1"})


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_direct"),
    [
        ("*", URL, True),
        ("amazonaws.com", URL, True),
        (".amazonaws.com", URL, True),
        ("*.amazonaws.com", URL, True),
        ("AmazonAWS.com", URL, True),
        ("bucket.s3.eu-west-1.amazonaws.com", URL, True),
        ("s3.eu-west-1.amazonaws.com:443", URL, True),
        ("s3.eu-west-1.amazonaws.com:80", URL, False),
        ("localhost, 10.0.0.1 ,amazonaws.com", URL, True),
        ("localhost 10.0.0.1 amazonaws.com", URL, True),
        # A name that only ends in the same letters is another host.
        ("aws.com", URL, False),
        ("com", URL, True),
        ("other.s3.eu-west-1.amazonaws.com", URL, False),
        ("minio", "http://minio:9000/b", True),
        ("minio:9000", "http://minio:9000/b", True),
        ("minio:9001", "http://minio:9000/b", False),
        ("minio:80", "http://minio/b", True),
        ("minio", "http://MINIO./b", True),
        ("10.0.0.0/8", "http://10.1.2.3:9000/b", True),
        ("10.0.0.0/8", "http://11.1.2.3:9000/b", False),
        ("10.1.2.3/8", "http://10.9.9.9/b", True),
        ("10.1.2.3", "http://10.1.2.3/b", True),
        ("10.1.2.3:9000", "http://10.1.2.3:9000/b", True),
        ("10.1.2.3:9001", "http://10.1.2.3:9000/b", False),
        ("2.3", "http://10.1.2.3/b", False),
        ("::1", "http://[::1]:9000/b", True),
        ("[::1]", "http://[::1]:9000/b", True),
        ("[::1]:9000", "http://[::1]:9000/b", True),
        ("[::1]:9001", "http://[::1]:9000/b", False),
        ("fd00::/8", "http://[fd12::1]/b", True),
        ("fd00::/8", "http://10.1.2.3/b", False),
        ("10.0.0.0/8", "http://ten.example/b", False),
        ("", URL, False),
        (", ,", URL, False),
        (".", URL, False),
        ("10.0.0.0/99", "http://10.0.0.1/b", False),
    ],
)
def test_exceptions(no_proxy: str, url: str, is_direct: bool) -> None:
    """Names with and without a leading dot, ports, addresses and networks."""
    proxies = Proxies({"http": "http://p:1", "https": "http://p:1"}, no_proxy)
    assert (proxies.for_url(url) is None) == is_direct


@given(st.text(max_size=30), st.text("abc.:[]0123456789/*", max_size=20))
def test_odd_exceptions_and_hosts_end_in_no_other_error(no_proxy: str, host: str) -> None:
    """Whatever stands in the variable, a URL has a proxy or none."""
    proxies = Proxies({"https": "http://p:1"}, no_proxy)
    try:
        assert proxies.for_url(f"https://{host}/k") in (None, "http://p:1")
    except ValueError:
        # The URL itself has no valid host or port; no request can be made for it.
        pass


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, True),
        ({"REQUESTS_CA_BUNDLE": ""}, True),
        ({"REQUESTS_CA_BUNDLE": "/a", "CURL_CA_BUNDLE": "/b"}, "/a"),
        ({"CURL_CA_BUNDLE": "/b"}, "/b"),
    ],
)
def test_ca_bundle_of_the_environment(environment: dict[str, str], expected: bool | str) -> None:
    """The variables of requests, which the Azure SDK reads as well."""
    assert ca_bundle(environment) == expected


@pytest.mark.parametrize(("verify", "expected"), [(True, True), ("", True), (False, False), ("/a", "/a")])
def test_only_false_accepts_any_certificate(verify: bool | str, expected: bool | str) -> None:
    """An empty variable or field is no setting."""
    assert HttpSettings(verify=verify).verify == expected


def test_timeouts_have_defaults() -> None:
    """A setting that is missing or 0 does not wait for ever."""
    assert HttpSettings(read_timeout_s=0).read_timeout_s == READ_TIMEOUT_S
    assert HttpSettings(read_timeout_s=5).read_timeout_s == 5


def test_tls_of_today(tmp_path: Path) -> None:
    """At least TLS 1.2; the common name is no host's name; a trusted certificate need not be a root."""
    directory = tmp_path / "ca"
    directory.mkdir()
    for verify in (True, str(certified(tmp_path / "ca.pem")), str(directory), False):
        context = HttpSettings(verify=verify).tls_context()
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert not context.hostname_checks_common_name
        assert context.check_hostname == (verify is not False)
        assert context.verify_mode == (ssl.CERT_REQUIRED if verify is not False else ssl.CERT_NONE)
        assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_contexts_are_made_once(tmp_path: Path) -> None:
    """A proxy is not shown the service's client certificate."""
    settings = HttpSettings(client_certificate=str(certified(tmp_path / "client.pem")))
    assert settings.tls_context() is settings.tls_context()
    assert settings.proxy_tls_context() is settings.proxy_tls_context()
    assert settings.proxy_tls_context() is not settings.tls_context()


def broken(tmp_path: Path, name: str) -> str:
    """Return the path of a file that is missing, empty or no PEM."""
    path = tmp_path / name
    if name != "missing.pem":
        path.write_text("" if name == "empty.pem" else "-----BEGIN CERTIFICATE-----\nAAAA\n")
    return str(path)


@pytest.mark.parametrize("name", ["missing.pem", "empty.pem", "broken.pem"])
@pytest.mark.parametrize("setting", ["verify", "client_certificate", "proxy_ca_bundle", "proxy_client_certificate"])
def test_files_that_cannot_be_used_are_named_before_any_request(tmp_path: Path, setting: str, name: str) -> None:
    """No retry can help, and no key is quoted."""
    path = broken(tmp_path, name)
    given: dict[str, Any] = {setting: path}
    settings = HttpSettings(proxies=Proxies({"https": "https://proxy:1"}), **given)
    with pytest.raises(UsageError, match=name):
        settings.check(URL)
    # Without TLS none of them is needed.
    HttpSettings(**given).check("http://minio:9000")


def test_client_certificate_with_a_password_is_refused_without_asking_for_it(tmp_path: Path) -> None:
    """OpenSSL would ask on a terminal."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - this test alone needs it

    made = issue(tmp_path / "client.pem", hosts=(HOST,))
    secret = serialization.BestAvailableEncryption(b"secret")
    key = made.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    (tmp_path / "key.pem").write_bytes(key)
    with pytest.raises(UsageError, match="no password"):
        HttpSettings(client_certificate=(str(tmp_path / "client.pem"), str(tmp_path / "key.pem"))).tls_context()


def test_proxy_that_cannot_be_used_is_refused_before_any_request() -> None:
    """Each request would fail."""
    with pytest.raises(UsageError, match="socks5"):
        HttpSettings(proxies=Proxies({"https": "socks5://p:1"})).check(URL)


def test_directory_of_certificates_is_trusted(tmp_path: Path) -> None:
    """OpenSSL finds a certificate there by its hash."""
    shutil.copy(certifi.where(), tmp_path / "bundle.pem")
    assert HttpSettings(verify=str(tmp_path)).tls_context().verify_mode == ssl.CERT_REQUIRED
