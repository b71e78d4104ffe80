"""Where a task reads and writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Places:
    """Where a task reads and writes, and with whose rights.

    Attributes:
        s3_arguments: Keyword arguments of ``connections.aws.s3_source`` beside id and lanes.
        wasb_arguments: Those of ``WasbHook``.
    """

    bucket: str
    container: str
    aws_conn_id: str | None
    wasb_conn_id: str
    s3_arguments: Mapping[str, Any]
    wasb_arguments: Mapping[str, Any] | None = None
    create_container: bool = False
