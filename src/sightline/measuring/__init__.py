"""Ways to do the same work -> how much faster one is than another, here and now; what this machine gives."""
