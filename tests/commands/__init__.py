"""Tests of the commands over a real Postgres."""
