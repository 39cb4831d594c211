"""Runs on their way to a hub of models, and back."""
