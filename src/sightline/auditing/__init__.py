"""Labels put to the test: every image is scored by networks that never saw it, and what they doubt is listed."""
