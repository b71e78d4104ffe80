"""The addresses of a migration, and the asset of its destination; test_dag.py runs the tasks."""

import pytest

from s3_to_azure.airflow.migration.dag_parts import parse_addresses
from s3_to_azure.model.errors import NameRefused, UsageError


def test_both_addresses_are_needed() -> None:
    """Without one of them there is no migration; its DAG says so when it runs."""
    assert parse_addresses(None, "az://container/x") is None
    assert parse_addresses("s3://bucket/x/", "") is None


def test_the_destination_is_an_asset_unless_its_name_is_made_later() -> None:
    """The asset's name must be known when the DAG is parsed."""
    found = parse_addresses("s3://bucket/in/", "az://container/out")
    assert found is not None
    assert [asset.uri for asset in found.assets] == ["x-az://container/out"]
    templated = parse_addresses("s3://bucket/in/", "az://container/{{ ds }}/")
    assert templated is not None
    assert templated.assets == []


@pytest.mark.parametrize(
    ("source", "destination"), [("s3://b/../x/", "az://container/x"), ("s3://bucket/", "az://c/../")]
)
def test_addresses_that_nothing_can_be_copied_from_or_to_are_refused(source: str, destination: str) -> None:
    """Before any run."""
    with pytest.raises((UsageError, NameRefused)):
        parse_addresses(source, destination)
