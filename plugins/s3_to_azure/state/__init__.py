"""The files of a run: manifest, plan and receipts, with a format version, and validated when they are read."""
