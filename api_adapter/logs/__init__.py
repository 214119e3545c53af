"""The logs resource: a run's log in pages, as a stream or followed live, and the raw output of its processes."""
