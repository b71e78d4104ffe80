"""The files of a run: manifest, plan and receipts, versioned JSON lines that are read without trust."""
