"""The commands: each file holds those about one thing, as plain functions; ``cli.py`` lists them."""
