"""The datasets that OpenLineage records for a copy: read from the bucket, written to the container.

Named by OpenLineage's own rules (https://openlineage.io/docs/spec/naming), so that what other tools record about the
same data joins; its name for a blob ends in ``.dfs.core.windows.net``, whatever endpoint the copy used.

Only OpenLineage's provider imports this module, through the operator: this project does not need that provider.
"""

from airflow.providers.common.compat.openlineage.facet import Dataset
from airflow.providers.openlineage.extractors import OperatorLineage  # type: ignore[import-not-found]


def copy_lineage(*, bucket: str, read: str, account: str, container: str, written: str) -> OperatorLineage:
    """Return the datasets that a finished copy read and wrote.

    Args:
        bucket: The S3 bucket.
        read: The object's key, or the prefix.
        account: Name of the storage account; empty where the connections failed.
        container: The Azure container.
        written: The blob's name, or the prefix.
    """
    if not account:
        # Nothing was read or written, and a dataset without an account could not be joined with any other.
        return OperatorLineage()
    return OperatorLineage(
        inputs=[Dataset(namespace=f"s3://{bucket}", name=read)],
        outputs=[Dataset(namespace=f"wasbs://{container}@{account}.dfs.core.windows.net", name=written)],
    )
