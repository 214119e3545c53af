"""Node types that bring rows in."""
