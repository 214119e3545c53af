"""Measurements of our own work beside stock Dagster's way and beside the best that can be had."""
