"""Addresses: which are taken, what they mean, and what the refusal of any other text says."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.names import check_bucket, check_container
from s3_to_azure.model.uris import (
    AzureUri,
    S3Uri,
    is_local_host,
    is_template,
    object_uri,
    parse_destination,
    parse_destination_prefix,
    parse_key_list,
    parse_source,
    parse_source_prefix,
    queue_endpoint,
)

ACCOUNT = "https://account.blob.core.windows.net"
POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/my-point"
OUTPOST = "arn:aws-us-gov:s3-outposts:us-gov-west-1:123456789012:outpost/op-01ac/accesspoint/my-point"
ODD = ("", "?sig=secret", "#", "%2F", "%ff", "[::1]", "[bad", "h:99", "u:p@h", "{{ x }}", "\t", "\n", "\udcff")
USUAL = ("bucket", "container", "a/b/", "127.0.0.1:10000", "localhost", "account.blob.core.windows.net", "$root")
PIECES = st.one_of(st.text(max_size=12), st.sampled_from(ODD + USUAL))
TEXTS = st.one_of(
    st.text(max_size=40),
    st.builds("{}://{}/{}".format, st.sampled_from(["s3", "az", "http", "https"]), PIECES, PIECES),
    st.builds("{}://{}/{}/{}".format, st.sampled_from(["s3", "az", "http", "https"]), PIECES, PIECES, PIECES),
)


@pytest.mark.parametrize(
    ("text", "uri", "is_prefix"),
    [
        ("s3://bucket", S3Uri("bucket", ""), True),
        ("s3://bucket/", S3Uri("bucket", ""), True),
        ("s3://bucket/a/b/", S3Uri("bucket", "a/b/"), True),
        ("s3://bucket/a/b c?d#e", S3Uri("bucket", "a/b c?d#e"), False),
        ("s3://bucket//a://b", S3Uri("bucket", "/a://b"), False),
        (f"s3://{POINT}", S3Uri(POINT, ""), True),
        (f"s3://{POINT}/", S3Uri(POINT, ""), True),
        (f"s3://{POINT}/a/b/", S3Uri(POINT, "a/b/"), True),
        (f"s3://{POINT}//a", S3Uri(POINT, "/a"), False),
        (f"s3://{OUTPOST}/a/b", S3Uri(OUTPOST, "a/b"), False),
    ],
)
def test_source(text: str, uri: S3Uri, is_prefix: bool) -> None:
    """The key is what follows the bucket's slash, byte for byte; an end in a slash names all objects below."""
    assert parse_source(text, name="SRC") == uri
    assert uri.is_prefix == is_prefix
    if is_prefix:
        assert parse_source_prefix(text, name="source") == uri
    else:
        with pytest.raises(UsageError, match="must end in '/'"):
            parse_source_prefix(text, name="source")


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("az://container", AzureUri("container", "")),
        ("az://container/a/b", AzureUri("container", "a/b")),
        ("az://$web/?a#b%20", AzureUri("$web", "?a#b%20")),
        (f"{ACCOUNT}/container", AzureUri("container", "", ACCOUNT)),
        (f"{ACCOUNT}/container/a%20b/%3F%23", AzureUri("container", "a b/?#", ACCOUNT)),
        (f"{ACCOUNT}:443/container//a", AzureUri("container", "/a", f"{ACCOUNT}:443")),
        (f"{ACCOUNT}/container/a\tb\n", AzureUri("container", "a\tb\n", ACCOUNT)),
        ("http://127.0.0.1:10000/acc/container/b", AzureUri("container", "b", "http://127.0.0.1:10000/acc")),
        ("http://localhost/acc/container", AzureUri("container", "", "http://localhost/acc")),
        ("http://[::1]:10000/acc/container/b", AzureUri("container", "b", "http://[::1]:10000/acc")),
        ("http://azurite:10000/acc/container/b", AzureUri("container", "b", "http://azurite:10000/acc")),
        ("http://azurite/acc/container", AzureUri("container", "", "http://azurite/acc")),
    ],
)
def test_destination(text: str, uri: AzureUri) -> None:
    """Only a URL's path is percent-decoded, and the account is its host, or its first segment at an IP address."""
    assert parse_destination(text, name="DST") == uri


@pytest.mark.parametrize(
    ("source", "destination", "key", "blob"),
    [
        ("s3://bucket/a/", "az://container", "a/b/c", "b/c"),
        ("s3://bucket/a/", "az://container/to", "a/b/c", "to/b/c"),
        ("s3://bucket/a/", "az://container/to/", "a/b/c", "to/b/c"),
        ("s3://bucket/a/b", "az://container", "a/b", "b"),
        ("s3://bucket/a/b", "az://container/to/", "a/b", "to/b"),
        ("s3://bucket/a/b", "az://container/to", "a/b", "to"),
    ],
)
def test_blob_for_a_key(source: str, destination: str, key: str, blob: str) -> None:
    """Many objects go below the path; one object goes to the path, or below it where it ends in a slash."""
    assert parse_destination(destination, name="DST").blob_for(parse_source(source, name="SRC"), key) == blob


def test_blob_that_the_destination_names_is_never_mapped() -> None:
    """The user wrote that name; names made from keys are mapped when asked."""
    one, below = parse_source("s3://bucket/a.", name="SRC"), parse_source("s3://bucket/", name="SRC")
    assert parse_destination("az://container/b.", name="DST").blob_for(one, "a.", mapped=True) == "b."
    assert parse_destination("az://container/b/", name="DST").blob_for(one, "a.", mapped=True) == "b/a~2E"
    assert parse_destination("az://container/b", name="DST").blob_for(below, "a.", mapped=True) == "b/a~2E"


def test_prefixes_with_templates() -> None:
    """Airflow renders them later, and the slash after the destination's prefix is added in any case."""
    assert parse_source_prefix("s3://{{ x }}/{{ y }}/", name="source") == S3Uri("{{ x }}", "{{ y }}/")
    destination = parse_destination_prefix("az://{{ x }}/{{ y }}", name="destination")
    assert (destination.container, destination.prefix) == ("{{ x }}", "{{ y }}/")


@pytest.mark.parametrize("parse", [parse_source, parse_destination])
def test_addresses_on_the_command_line_hold_no_templates(parse: Callable[..., Any]) -> None:
    """Nothing renders them there."""
    with pytest.raises(UsageError, match=r"is not a (bucket|container) name"):
        parse(f"{'s3' if parse is parse_source else 'az'}://{{{{ x }}}}/y", name="SRC")


def test_key_list_lies_in_the_source_bucket() -> None:
    """The key is returned; any other place is refused with the address to write."""
    assert parse_key_list("s3://bucket/a/keys.txt", bucket="bucket", name="keys_from") == "a/keys.txt"
    for text in ("s3://other/keys.txt", "s3://bucket", "s3://bucket/", "s3://bucket/a/"):
        with pytest.raises(UsageError, match=r"keys_from '.*' is not an object .* Write s3://bucket/key\."):
            parse_key_list(text, bucket="bucket", name="keys_from")
    with pytest.raises(UsageError, match=r"keys_from 'keys\.txt' is not an S3 address"):
        parse_key_list("keys.txt", bucket="bucket", name="keys_from")


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (parse_source, "s3://b_/x/", "'b_' is not a bucket name"),
        (parse_source_prefix, "s3://b_/x/", "'b_' is not a bucket name"),
        (parse_destination, "az://Container/x", "'Container' is not a container name"),
        (parse_destination_prefix, "az://Container/x", "'Container' is not a container name"),
    ],
)
def test_names_that_the_services_refuse(parse: Callable[..., Any], text: str, says: str) -> None:
    """No request is sent for a bucket or container that cannot exist."""
    with pytest.raises(UsageError, match=says):
        parse(text, name="SRC")


@pytest.mark.parametrize("text", ["bucket/x/", "s3://", "s3:///x/", "az://bucket/x/", "S3://bucket/x/", "s3:/bucket/"])
@pytest.mark.parametrize("parse", [parse_source, parse_source_prefix])
def test_wrong_source(parse: Callable[..., S3Uri], text: str) -> None:
    """The sentence names the argument, repeats its value, and says what to write."""
    with pytest.raises(UsageError) as raised:
        parse(text, name="SRC")
    assert str(raised.value).startswith(f"SRC {text!r} is not an S3 address. Write s3://bucket/")


@pytest.mark.parametrize("text", ["container/x", "az://", "az:///x", "s3://container/x", "AZ://container/x"])
@pytest.mark.parametrize("parse", [parse_destination, parse_destination_prefix])
def test_wrong_destination(parse: Callable[..., AzureUri], text: str) -> None:
    """The sentence names the argument, repeats its value, and says what to write."""
    with pytest.raises(UsageError) as raised:
        parse(text, name="DST")
    assert str(raised.value).startswith(f"DST {text!r} is not an Azure address. Write az://container/")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("https://", "is not an Azure address"),
        (f"{ACCOUNT}", "is not an Azure address"),
        (f"{ACCOUNT}//blob", "is not an Azure address"),
        ("http://127.0.0.1:10000/account", "is not an Azure address"),
        ("https://[bad/container", "is not an Azure address"),
        ("https://host:x/container", "is not an Azure address"),
        (f"{ACCOUNT}/Container/blob", "is not a container name"),
        (f"{ACCOUNT}/container/%ff", "not UTF-8"),
        (f"{ACCOUNT}/container/a#b", "Write %23"),
    ],
)
def test_wrong_url(text: str, says: str) -> None:
    """A URL that could mean another blob, or none, is refused."""
    with pytest.raises(UsageError, match=says):
        parse_destination(text, name="DST")


@pytest.mark.parametrize(
    "text",
    [
        f"{ACCOUNT}/container/b?sig=SECRET",
        f"{ACCOUNT}?sig=SECRET",
        "https://user:SECRET@account.blob.core.windows.net/container/b",
        "htp://account/container/b?sig=SECRET",
        "az://user:SECRET@container/b",
    ],
)
@pytest.mark.parametrize("parse", [parse_destination, parse_destination_prefix, parse_source, parse_source_prefix])
def test_a_refused_url_with_a_token_is_not_repeated(parse: Callable[..., AzureUri], text: str) -> None:
    """Errors go into logs, which must hold no token."""
    with pytest.raises(UsageError) as raised:
        parse(text, name="DST")
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("parse", [parse_source, parse_source_prefix])
def test_keys_of_an_account_are_not_repeated(parse: Callable[..., S3Uri]) -> None:
    """Hadoop once took them in the address."""
    with pytest.raises(UsageError, match="'…@bucket' is not a bucket name") as raised:
        parse("s3://AKID:SECRET@bucket/a/", name="SRC")
    assert "AKID" not in str(raised.value)


@pytest.mark.parametrize("query", ["?sv=2024-11-04&sr=c&sig=SECRET", "/b?sig=SECRET", "/b/?sp=r&sig=SECRET"])
@pytest.mark.parametrize("parse", [parse_destination, parse_destination_prefix])
def test_a_sas_does_not_become_part_of_a_name(parse: Callable[..., AzureUri], query: str) -> None:
    """A blob may have a question mark in its name, so a copy would succeed, and show the token to every reader."""
    with pytest.raises(UsageError, match="DST carries a SAS") as raised:
        parse(f"az://container{query}", name="DST")
    assert "SECRET" not in str(raised.value)


@given(text=TEXTS)
@example("https://[")
@example("s3://" + "a" * 300)
def test_any_source_is_valid_or_refused(text: str) -> None:
    """Any text makes a bucket that S3 can have, or ``UsageError``."""
    for parse in (parse_source, parse_source_prefix):
        try:
            source = parse(text, name="SRC")
        except UsageError:
            continue
        assert text in (f"s3://{source.bucket}/{source.key}", f"s3://{source.bucket}")
        if not (parse is parse_source_prefix and is_template(source.bucket)):
            assert check_bucket(source.bucket) == source.bucket


@given(text=TEXTS)
@example("https://[::1]]/a/bcd")
@example("https://account\u2100/container")
def test_any_destination_is_valid_or_refused(text: str) -> None:
    """Any text makes a container that Azure can have, or ``UsageError``."""
    for parse in (parse_destination, parse_destination_prefix):
        try:
            destination = parse(text, name="DST")
        except UsageError:
            continue
        if not (parse is parse_destination_prefix and is_template(destination.container)):
            assert check_container(destination.container) == destination.container
        assert destination.prefix == "" or destination.prefix.endswith("/")
        assert destination.account_url is None or text.startswith(f"{destination.account_url}/")


@given(text=TEXTS)
def test_any_key_list_is_valid_or_refused(text: str) -> None:
    """Any text is the address of one object in the bucket, or ``UsageError``."""
    try:
        key = parse_key_list(text, bucket="bucket", name="keys_from")
    except UsageError:
        return
    assert text == f"s3://bucket/{key}"


@pytest.mark.parametrize(
    ("endpoint", "path", "region"),
    [
        ("https://sqs.eu-central-1.amazonaws.com", "/123456789012/q", "eu-central-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn", "/123456789012/q.fifo", "cn-north-1"),
        ("https://sqs-fips.us-gov-west-1.amazonaws.com", "/123456789012/q", "us-gov-west-1"),
        ("https://vpce-0-x.sqs.us-east-1.vpce.amazonaws.com", "/123456789012/q", "us-east-1"),
        ("http://127.0.0.1:4566", "/000000000000/q", None),
        ("http://localhost.localstack.cloud:4566", "/queue/us-east-1/000000000000/q", None),
    ],
)
def test_the_host_of_a_queue_is_asked(endpoint: str, path: str, region: str | None) -> None:
    """It also tells the region, so that a queue may be in another one than the connection."""
    assert queue_endpoint(endpoint + path) == (endpoint, region)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "q",
        "arn:aws:sqs:us-east-1:123456789012:q",
        "http://sqs.us-east-1.amazonaws.com/123456789012/q",
        "https://sqs.us-east-1.amazonaws.com/q",
        "https://sqs.us-east-1.amazonaws.com/123456789012/q?x=1",
        "https://user:secret@sqs.us-east-1.amazonaws.com/123456789012/q",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    """Without TLS only on this machine or its network of containers."""
    with pytest.raises(UsageError, match="not the URL of an SQS queue"):
        queue_endpoint(url)


@pytest.mark.parametrize("text", ["https://b.s3.amazonaws.com/k?X-Amz-Signature=secret", "http://h/?sig=secret"])
def test_the_query_of_a_url_is_not_shown(text: str) -> None:
    """It may be a signature; a question mark in a key is shown."""
    with pytest.raises(UsageError) as raised:
        parse_source(text, name="SRC")
    assert "secret" not in str(raised.value)
    with pytest.raises(UsageError, match="what"):
        parse_key_list("s3://other/what?", bucket="bucket", name="keys_from")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "minio", "s3.localhost.localstack.cloud"])
def test_local_hosts_need_no_tls(host: str) -> None:
    """They are this machine, or have a name without a domain."""
    assert is_local_host(host)


@pytest.mark.parametrize("host", ["example.com", "10.0.0.7", "169.254.169.254", ""])
def test_other_hosts_need_tls(host: str) -> None:
    """Addresses of a network may be anybody's, and the metadata service has one."""
    assert not is_local_host(host)


def test_an_object_has_an_address_for_people() -> None:
    """Also where its URL does not tell its bucket."""
    assert object_uri("bucket", "a/k") == "s3://bucket/a/k"
    assert object_uri("bucket") == "s3://bucket"
    assert object_uri("https://d1.cloudfront.net", "a/k") == "https://d1.cloudfront.net/a/k"
