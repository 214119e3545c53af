"""Running the stack: embedded Postgres, the parts as processes, their health, and the reload of changed files."""
