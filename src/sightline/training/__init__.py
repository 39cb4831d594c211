"""The training room: the loop and what it stands on."""
