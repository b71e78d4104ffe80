"""How every S3 client here is set up, whoever makes it."""

from botocore.config import Config


def botocore_config(lanes: int, given: Config | None = None) -> Config:
    """Return the botocore settings of every S3 client here: SigV4, and no retries of its own.

    Args:
        lanes: Connections to keep.
        given: A connection's own settings, which stay except for those.
    """
    ours = Config(
        signature_version="s3v4", retries={"total_max_attempts": 1, "mode": "standard"}, max_pool_connections=lanes
    )
    return (given or Config()).merge(ours)
