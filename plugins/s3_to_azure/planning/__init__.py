"""From the listings of both sides to batches, with a reason for every object that is left out."""
