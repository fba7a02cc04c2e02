"""Cancellation at every checkpoint: each method of each backend, struck at each await in turn, and used again."""
