"""What Airflow calls the machine it runs on: here each worker's own name, since all share one."""

import os


def worker_name() -> str:
    """Return the name that the cluster gave to this process and its children."""
    return os.environ.get("CLUSTER_PART", "unnamed")
