"""Many opinions about an image -> one answer, and what asking them all is worth."""
