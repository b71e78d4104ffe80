"""How objects are read: the headers and arguments that each option adds, and what is refused."""

import base64
import hashlib
from typing import Any

import pytest
from botocore.config import Config

from s3_to_azure.model.errors import UsageError
from s3_to_azure.stores.s3.options import ReadOptions, botocore_config

KEY = bytes(range(32))
KEY_BASE64 = base64.b64encode(KEY).decode()


def test_nothing_is_added_without_options() -> None:
    """Neither a header nor an argument."""
    plain = ReadOptions()
    assert (plain.headers(), plain.payer(), plain.version(), plain.reading()) == ({}, {}, {}, {})


def test_each_request_gets_the_options_that_concern_it() -> None:
    """The version and the customer key are not sent with a listing, nor the key with a request for tags."""
    options = ReadOptions(requester_pays=True, customer_key=KEY, version_id="v")
    payer = {"RequestPayer": "requester"}
    assert options.payer() == payer
    assert options.version() == payer | {"VersionId": "v"}
    assert options.reading() == payer | {"VersionId": "v", "SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
    assert options.headers() == {
        "x-amz-request-payer": "requester",
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": KEY_BASE64,
        "x-amz-server-side-encryption-customer-key-md5": base64.b64encode(hashlib.md5(KEY).digest()).decode(),
    }


def test_all_headers_are_signed() -> None:
    """Signing covers the headers whose names begin with x-amz-."""
    options = ReadOptions(requester_pays=True, customer_key=KEY)
    assert all(name.startswith("x-amz-") for name in options.headers())


@pytest.mark.parametrize(
    ("arguments", "named", "expected"),
    [
        ({}, {}, ReadOptions()),
        ({"RequestPayer": "requester"}, {}, ReadOptions(requester_pays=True)),
        ({"RequestPayer": "somebody"}, {}, ReadOptions()),
        ({}, {"requester_pays": True}, ReadOptions(requester_pays=True)),
        ({"SSECustomerKey": KEY}, {}, ReadOptions(customer_key=KEY)),
        ({"SSECustomerKey": KEY_BASE64, "SSECustomerAlgorithm": "AES256"}, {}, ReadOptions(customer_key=KEY)),
        ({}, {"key": KEY_BASE64}, ReadOptions(customer_key=KEY)),
        ({"SSECustomerKey": KEY}, {"key": base64.b64encode(bytes(32)).decode()}, ReadOptions(customer_key=KEY)),
        ({"VersionId": "v"}, {}, ReadOptions(version_id="v")),
    ],
)
def test_options_of_arguments(arguments: dict[str, Any], named: dict[str, Any], expected: ReadOptions) -> None:
    """Named as in boto3; an argument's key takes precedence over the connection's."""
    assert ReadOptions.of(arguments, **named) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ACL": "private", "IfMatch": "e"}, r"\['ACL', 'IfMatch'\] are not supported"),
        ({"SSECustomerKey": "no base64!"}, "is not base64"),
        ({"SSECustomerKey": KEY[:31]}, "must have 32 bytes"),
        ({"SSECustomerKey": base64.b64encode(bytes(33)).decode()}, "must have 32 bytes"),
    ],
)
def test_refused_arguments(arguments: dict[str, Any], message: str) -> None:
    """An argument that is not supported would change what is read if it were ignored."""
    with pytest.raises(UsageError, match=message):
        ReadOptions.of(arguments)


def test_customer_key_is_not_shown() -> None:
    """Neither in ``repr`` nor in an error."""
    assert KEY_BASE64 not in repr(ReadOptions(customer_key=KEY))
    assert "bytes" not in repr(ReadOptions(customer_key=KEY))
    with pytest.raises(UsageError) as refused:
        ReadOptions.of({"SSECustomerKey": "secret secret"})
    assert "secret secret" not in str(refused.value)


def test_botocore_neither_retries_nor_signs_otherwise() -> None:
    """The connection's other settings are kept."""
    given = Config(
        retries={"max_attempts": 9}, signature_version="s3", s3={"addressing_style": "path"}, proxies={"https": "p"}
    )
    config: Any = botocore_config(70, given)
    assert config.signature_version is None
    assert config.retries["total_max_attempts"] == 1
    assert config.max_pool_connections == 70
    assert (config.s3, config.proxies) == ({"addressing_style": "path"}, {"https": "p"})
