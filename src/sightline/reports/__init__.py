"""The reports room: figures and pages."""
