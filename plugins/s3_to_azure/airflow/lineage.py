"""The datasets that OpenLineage records for a copy: read from the bucket, written to the container.

Their names follow OpenLineage's rules (https://openlineage.io/docs/spec/naming), so that they match the names that
other tools record for the same data: the name of a blob ends in ``.dfs.core.windows.net``, whatever the endpoint.

Only OpenLineage's provider uses this module, through the operator; this project does not depend on that provider.
"""

from airflow.providers.common.compat.openlineage.facet import Dataset
from airflow.providers.openlineage.extractors import OperatorLineage  # type: ignore[import-not-found]

from s3_to_azure.model.uris import object_uri


def copy_lineage(*, bucket: str, read: str, account: str, container: str, written: str) -> OperatorLineage:
    """Return the datasets that a finished copy has read and written.

    Args:
        bucket: The S3 bucket.
        read: The object's key, or the prefix.
        account: The storage account's name; empty if the task failed before it was known.
        container: The Azure container.
        written: The blob's name, or the prefix.
    """
    if not account:
        # Nothing was read or written, and no other dataset could match a name without an account.
        return OperatorLineage()
    return OperatorLineage(
        inputs=[Dataset(namespace=object_uri(bucket), name=read)],
        outputs=[Dataset(namespace=f"wasbs://{container}@{account}.dfs.core.windows.net", name=written)],
    )
