"""Tests of triggers on new files and objects."""
