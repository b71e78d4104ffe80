"""The links of a copy task in Airflow's UI: the source, the destination, and the run's Migration page."""

from typing import Any, Final
from urllib.parse import quote, urlencode

import attrs

from s3_to_azure.airflow.compat import (
    MIGRATION_PAGE,
    AirflowNotFoundException,
    BaseHook,
    BaseOperatorLink,
    TaskInstanceKey,
    conf,
)

RESOURCE_ID: Final = "resource_id"
"""Extra field of the ``wasb`` connection: the storage account's Azure resource id, which links to the portal need."""

_S3_CONSOLE: Final = "https://s3.console.aws.amazon.com/s3"
_AZURE_PORTAL: Final = "https://portal.azure.com"
_STORAGE: Final = "Microsoft_Azure_Storage"


def s3_console_url(bucket: str, *, key: str | None = None, prefix: str = "") -> str:
    """Return the address of an object, or of a prefix of the bucket, in the AWS console."""
    if key is not None:
        return f"{_S3_CONSOLE}/object/{quote(bucket, safe='')}?{urlencode({'prefix': key})}"
    return f"{_S3_CONSOLE}/buckets/{quote(bucket, safe='')}" + (f"?{urlencode({'prefix': prefix})}" if prefix else "")


def azure_portal_url(resource_id: str, container: str, blob: str | None = None) -> str:
    """Return the address of a blob, or of its container, in the Azure portal; the list of accounts without an id."""
    if not resource_id:
        return f"{_AZURE_PORTAL}/#browse/Microsoft.Storage%2FStorageAccounts"
    account = quote(resource_id, safe="")
    if blob is None:
        return (
            f"{_AZURE_PORTAL}/#view/{_STORAGE}/ContainerMenuBlade/~/overview/storageAccountId/{account}"
            f"/path/{quote(container, safe='')}"
        )
    path = quote(f"{container}/{blob}", safe="")
    return f"{_AZURE_PORTAL}/#view/{_STORAGE}/BlobPropertiesBladeV2/storageAccountId/{account}/path/{path}"


def migration_page_url(dag_id: str, run_id: str) -> str:
    """Return the address of the run's Migration page; empty where Airflow's UI has none."""
    if not MIGRATION_PAGE:
        return ""
    base = str(conf.get("api", "base_url", fallback="/")).rstrip("/")
    return base + MIGRATION_PAGE.format(dag_id=quote(dag_id, safe=""), run_id=quote(run_id, safe=""))


@attrs.define()
class SourceLink(BaseOperatorLink):
    """Links to the object or the prefix in the AWS console."""

    name: str = "S3 source (AWS console)"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:  # noqa: ANN401, ARG002 - Airflow's interface; importing the operator would be circular
        """Return the address."""
        if not operator.s3_bucket:
            # The object is another account's, and known by its URL only.
            return ""
        key, _ = _one_object(operator)
        return s3_console_url(operator.s3_bucket, key=key, prefix=operator.s3_prefix or "")


@attrs.define()
class DestinationLink(BaseOperatorLink):
    """Links to the blob or the container in the Azure portal."""

    name: str = "Azure destination (portal)"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:  # noqa: ANN401, ARG002 - Airflow's interface; importing the operator would be circular
        """Return the address."""
        _, blob = _one_object(operator)
        try:
            extra = BaseHook.get_connection(operator.wasb_conn_id).extra_dejson
        except AirflowNotFoundException:
            # The task fails too, and its log names the connection.
            return ""
        return azure_portal_url(str(extra.get(RESOURCE_ID) or ""), operator.container_name, blob)


@attrs.define()
class MigrationPageLink(BaseOperatorLink):
    """Links to the run's Migration page."""

    name: str = "Migration"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:  # noqa: ANN401, ARG002 - Airflow's interface; importing the operator would be circular
        """Return the address."""
        return migration_page_url(ti_key.dag_id, ti_key.run_id)


def _one_object(operator: Any) -> tuple[str | None, str | None]:  # noqa: ANN401 - importing the operator would be circular
    """Return key and blob of the only object that the task copies; a batch knows them after its copy."""
    if operator.s3_key:
        return operator.s3_key, operator.blob_of_key(operator.s3_key)
    return operator.one_object or (None, None)


LINKS: Final = (MigrationPageLink(), SourceLink(), DestinationLink())
