"""OpenLineage's datasets of a copy; two stand-ins replace its provider, which is not installed here."""

import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from s3_to_azure.operators import S3ToAzureBlobStreamOperator


@dataclass(frozen=True)
class Dataset:
    """Stands for OpenLineage's class."""

    namespace: str
    name: str


@dataclass(frozen=True)
class OperatorLineage:
    """Stands for the provider's class."""

    inputs: list[Dataset] = field(default_factory=list)
    outputs: list[Dataset] = field(default_factory=list)


@pytest.fixture(autouse=True)
def _provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "s3_to_azure.airflow.lineage", raising=False)
    for name, value in (
        ("airflow.providers.common.compat.openlineage.facet", Dataset),
        ("airflow.providers.openlineage.extractors", OperatorLineage),
    ):
        module: Any = ModuleType(name)
        setattr(module, value.__name__, value)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage", ModuleType("airflow.providers.openlineage"))


@pytest.mark.parametrize(
    ("arguments", "read", "written"),
    [
        ({"s3_key": "k/v"}, "k/v", "k/v"),
        ({"s3_key": "k/v", "blob_prefix": "p"}, "k/v", "p/v"),
        ({"s3_key": "k/v", "blob_name": "w"}, "k/v", "w"),
        ({"s3_prefix": "k/", "blob_prefix": "p/"}, "k/", "p/"),
        ({"s3_prefix": ""}, "/", "/"),
    ],
)
def test_datasets(arguments: dict[str, str], read: str, written: str) -> None:
    """An object and its blob, or the two prefixes, are named by OpenLineage's rules."""
    operator = S3ToAzureBlobStreamOperator(task_id="copy", s3_bucket="bucket", container_name="container", **arguments)  # type: ignore[arg-type]
    operator._account = "account"
    assert operator.get_openlineage_facets_on_complete(None) == OperatorLineage(
        [Dataset("s3://bucket", read)], [Dataset("wasbs://container@account.dfs.core.windows.net", written)]
    )


def test_no_dataset_without_an_account() -> None:
    """A copy that failed before it knew its account has no datasets."""
    operator = S3ToAzureBlobStreamOperator(task_id="copy", s3_bucket="bucket", container_name="container", s3_key="k")
    assert operator.get_openlineage_facets_on_complete(None) == OperatorLineage()


def test_datasets_of_a_url() -> None:
    """Bucket and key are known when the task has run; a host that does not tell them is named as it is."""
    url = "https://d1.cloudfront.net/d/k?Expires=1&Signature=s&Key-Pair-Id=i"
    operator = S3ToAzureBlobStreamOperator(task_id="copy", container_name="container", source_url=url)
    operator._account = "account"
    for bucket, namespace in (("bucket", "s3://bucket"), ("https://d1.cloudfront.net", "https://d1.cloudfront.net")):
        operator._bucket, operator.one_object = bucket, ("d/k", "b")
        assert operator.get_openlineage_facets_on_complete(None) == OperatorLineage(
            [Dataset(namespace, "d/k")], [Dataset("wasbs://container@account.dfs.core.windows.net", "b")]
        )
