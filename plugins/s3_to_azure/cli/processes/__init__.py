"""Several processes for one copy."""
