"""The schedules resource: when pipelines start by themselves, and what came of it."""
