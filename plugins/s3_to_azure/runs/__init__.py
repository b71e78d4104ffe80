"""A run: its batches, a whole prefix in one task, and its report."""
