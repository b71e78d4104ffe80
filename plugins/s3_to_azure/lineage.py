"""What OpenLineage hears of a copy: read from the bucket, written to the container.

Named by OpenLineage's own rules (https://openlineage.io/docs/spec/naming), so that what other tools tell of the same
data joins; its name for a blob ends in ``.dfs.core.windows.net``, whatever endpoint the copy used.

Imported only by OpenLineage's provider, through the operator: this project does not need that provider.
"""

from typing import TYPE_CHECKING

from airflow.providers.common.compat.openlineage.facet import Dataset
from airflow.providers.openlineage.extractors import OperatorLineage  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from s3_to_azure.operators import S3ToAzureBlobStreamOperator


def lineage(operator: "S3ToAzureBlobStreamOperator", *, account: str) -> OperatorLineage:
    """Return the datasets that a finished copy read and wrote: the object and its blob, or the two prefixes.

    Args:
        operator: The copy.
        account: Name of the storage account.
    """
    if not account:
        # The connections failed: nothing was read or written, and a dataset of no account would be nobody's.
        return OperatorLineage()
    if operator.s3_key is not None:
        read = operator.s3_key
        written = operator.blob_name if operator.blob_name is not None else operator.blob_prefix + operator.s3_key
    else:
        read, written = operator.s3_prefix or "/", operator.blob_prefix or "/"
    return OperatorLineage(
        inputs=[Dataset(namespace=f"s3://{operator.s3_bucket}", name=read)],
        outputs=[Dataset(namespace=f"wasbs://{operator.container_name}@{account}.dfs.core.windows.net", name=written)],
    )
