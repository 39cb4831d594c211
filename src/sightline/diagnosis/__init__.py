"""The diagnosis room: what the numbers mean."""
