"""Tests of our own tables, over a real Postgres."""
