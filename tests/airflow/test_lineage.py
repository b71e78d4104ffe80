"""OpenLineage's datasets of a copy; its provider is not among this project's, so two records stand for it."""

import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from s3_to_azure.operators import S3ToAzureBlobStreamOperator


@dataclass(frozen=True)
class Dataset:
    """OpenLineage's."""

    namespace: str
    name: str


@dataclass(frozen=True)
class OperatorLineage:
    """The provider's."""

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
    ("what", "read", "written"),
    [
        ({"s3_key": "k/v"}, "k/v", "k/v"),
        ({"s3_key": "k/v", "blob_prefix": "p/"}, "k/v", "p/k/v"),
        ({"s3_key": "k/v", "blob_name": "w"}, "k/v", "w"),
        ({"s3_prefix": "k/", "blob_prefix": "p/"}, "k/", "p/"),
        ({"s3_prefix": ""}, "/", "/"),
    ],
)
def test_datasets(what: dict[str, str], read: str, written: str) -> None:
    """An object and its blob, or the two prefixes, named as OpenLineage's rules name them."""
    operator = S3ToAzureBlobStreamOperator(task_id="copy", s3_bucket="b", container_name="c", **what)  # type: ignore[arg-type]
    operator._account = "account"
    assert operator.get_openlineage_facets_on_complete(None) == OperatorLineage(
        [Dataset("s3://b", read)], [Dataset("wasbs://c@account.dfs.core.windows.net", written)]
    )


def test_no_dataset_without_an_account() -> None:
    """A copy that never reached an account names none: ``wasbs://c@`` would be nobody's dataset."""
    operator = S3ToAzureBlobStreamOperator(task_id="copy", s3_bucket="b", container_name="c", s3_key="k")
    assert operator.get_openlineage_facets_on_complete(None) == OperatorLineage()
