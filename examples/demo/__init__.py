"""The parts of the demo: data, stack, client, expected results, display."""
