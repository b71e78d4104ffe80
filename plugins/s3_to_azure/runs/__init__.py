"""One batch, one prefix, and the report of a run."""
