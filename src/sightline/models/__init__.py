"""The models room: networks, each built by name."""
