"""The parts of ``sightline see``: each file holds those about one thing; ``parts.py`` lists them."""
