"""A source and settings -> a run: what is left open chosen, a trainer put together, and the run opened again."""
