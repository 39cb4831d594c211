"""The serving room: a finished run at work."""
