"""The default of each option, once: operators, DAG, run Params, command line and settings take them from here.

Importing this module costs nothing, so a DAG file may do it. Sizes are written as a user writes them.
"""

from typing import Final

from s3_to_azure.model import options

AWS_CONN_ID: Final = "aws_default"
WASB_CONN_ID: Final = "wasb_default"

OVERWRITE: Final = options.IF_CHANGED
INTEGRITY: Final = options.AUTO
VIA: Final = options.VIA_WORKER
REFUSED_NAMES: Final = options.FAIL
"""A name that Azure refuses fails its object, so that nothing is left behind unnoticed."""
ARCHIVED: Final = options.FAIL
OVERSIZED_METADATA: Final = options.FAIL
ETAG_IS_MD5: Final = options.AUTO
RESTORE_DAYS: Final = 7
RESTORE_TIER: Final = "Standard"

MEMORY_BUDGET: Final = "256MiB"
OBJECTS_AT_ONCE: Final = 64
CONNECTIONS: Final = 64
"""Upper bounds of a copy, which finds out itself how many are worth it."""
LOOKED_AT_AT_ONCE: Final = 8
"""Objects that are looked at without being copied; each of them may have a block in memory."""
PROCESSES: Final = 4
"""Upper bound, at which small objects come near the requests that a prefix of S3 and an account of Azure accept."""

MIN_OBJECTS: Final = 1
MAX_TASKS: Final = 500
SPLIT_SIZE: Final = "64GiB"
TASK_SIZE: Final = "256MiB"
KEEP_STATE_DAYS: Final = 30
