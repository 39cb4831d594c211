"""The tracking room: where the numbers of a training go."""
