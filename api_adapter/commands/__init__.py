"""Our commands: `planasonix keys`, `planasonix audit` and `planasonix serve`; also `python -m api_adapter ...`."""
