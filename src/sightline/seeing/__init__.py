"""Seeing inside: what the arithmetic does, what units look for, where a network looks."""
