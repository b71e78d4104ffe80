"""Two listings become batches, and a reason for every object that is left out."""
