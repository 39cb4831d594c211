"""Controlled experiments: arms that differ in one thing, trained with the same seeds, compared pair by pair."""
