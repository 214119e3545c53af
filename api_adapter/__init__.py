"""The Planasonix Runs API over Dagster: reads its record in Postgres, starts and cancels through its instance."""
