"""The triggers resource: list, read, switch and test them, what they have started, and the calls of webhooks."""
