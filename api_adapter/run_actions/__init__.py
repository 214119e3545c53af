"""What can be done with runs: start, cancel and retry them."""
