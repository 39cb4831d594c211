"""Recipes, bundled and the user's own: settings, or an ensemble's members and how they vote, as TOML."""
