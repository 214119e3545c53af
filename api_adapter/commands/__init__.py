"""Our commands: those that serve the Runs API, and those that use it; also `python -m api_adapter ...`."""
