"""The links of a task: every name in them is encoded, and they lead to the two consoles and the Migration page."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk.types import TaskInstanceKey

from s3_to_azure.airflow import links
from s3_to_azure.airflow.links import (
    DestinationLink,
    MigrationPageLink,
    SourceLink,
    azure_portal_url,
    migration_page_url,
    s3_console_url,
)
from s3_to_azure.operators import S3ToAzureBlobStreamOperator

ACCOUNT = "/subscriptions/1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a"
KEY = cast("TaskInstanceKey", SimpleNamespace(dag_id="my dag", run_id="manual__2026-01-01T00:00:00+00:00"))


def test_s3_console() -> None:
    """Objects, prefixes and whole buckets have different pages."""
    assert s3_console_url("b", key="a b/?#&+ü") == (
        "https://s3.console.aws.amazon.com/s3/object/b?prefix=a+b%2F%3F%23%26%2B%C3%BC"
    )
    assert s3_console_url("b", prefix="x/") == "https://s3.console.aws.amazon.com/s3/buckets/b?prefix=x%2F"
    assert s3_console_url("b") == "https://s3.console.aws.amazon.com/s3/buckets/b"


def test_azure_portal() -> None:
    """The portal needs the account's resource id; without it the link leads to the list of accounts."""
    assert azure_portal_url("", "c", "b").endswith("/#browse/Microsoft.Storage%2FStorageAccounts")
    blob = azure_portal_url(ACCOUNT, "c", "x/<y>.bin")
    assert blob.startswith("https://portal.azure.com/#view/Microsoft_Azure_Storage/BlobPropertiesBladeV2/")
    assert blob.endswith("/storageAccountId/" + ACCOUNT.replace("/", "%2F") + "/path/c%2Fx%2F%3Cy%3E.bin")
    assert azure_portal_url(ACCOUNT, "c").endswith("/path/c")


def test_migration_page() -> None:
    """Run ids contain colons and plus signs, which are encoded."""
    assert migration_page_url("d", "manual__2026-01-01T00:00:00+00:00").endswith(
        "/dags/d/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00/plugin/s3_to_azure_migration"
    )


def test_migration_page_of_an_airflow_whose_ui_has_no_place_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """3.0 serves it as a page by itself; 2.10 and 2.11 have none, and the link leads nowhere."""
    monkeypatch.setattr(links, "MIGRATION_PAGE", "/s3_to_azure/static/page.html?dag_id={dag_id}&run_id={run_id}")
    assert migration_page_url("a&b", "manual__1+00:00").endswith(
        "/s3_to_azure/static/page.html?dag_id=a%26b&run_id=manual__1%2B00%3A00"
    )
    monkeypatch.setattr(links, "MIGRATION_PAGE", "")
    assert migration_page_url("d", "r") == ""


def test_links_of_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator carries all three, for objects and for batches."""
    extra = '{"conn_type": "wasb", "extra": {"resource_id": "' + ACCOUNT + '"}}'
    monkeypatch.setenv("AIRFLOW_CONN_WITH_ID", extra)
    one: Any = S3ToAzureBlobStreamOperator(
        task_id="one",
        s3_bucket="bucket",
        s3_key="k/v",
        container_name="container",
        blob_name="p/k/v",
        wasb_conn_id="with_id",
    )
    many: Any = S3ToAzureBlobStreamOperator(
        task_id="many", s3_bucket="bucket", s3_prefix="k/", container_name="container", wasb_conn_id="with_id"
    )
    assert [type(link) for link in one.operator_extra_links] == [MigrationPageLink, SourceLink, DestinationLink]
    assert SourceLink().get_link(one, ti_key=KEY).endswith("/object/bucket?prefix=k%2Fv")
    assert SourceLink().get_link(many, ti_key=KEY).endswith("/buckets/bucket?prefix=k%2F")
    assert DestinationLink().get_link(one, ti_key=KEY).endswith("/path/container%2Fp%2Fk%2Fv")
    assert DestinationLink().get_link(many, ti_key=KEY).endswith("/path/container")
    # A batch of one object knows it after its copy.
    many.one_object = ("k/only", "p/only")
    assert SourceLink().get_link(many, ti_key=KEY).endswith("/object/bucket?prefix=k%2Fonly")
    assert DestinationLink().get_link(many, ti_key=KEY).endswith("/path/container%2Fp%2Fonly")
    assert "/dags/my%20dag/runs/" in MigrationPageLink().get_link(one, ti_key=KEY)


def test_no_connection_no_link() -> None:
    """Without the connection there is no link; the task's own error names the connection already."""
    one: Any = S3ToAzureBlobStreamOperator(
        task_id="one", s3_bucket="bucket", s3_key="k", container_name="container", wasb_conn_id="is_not_there"
    )
    assert DestinationLink().get_link(one, ti_key=KEY) == ""
