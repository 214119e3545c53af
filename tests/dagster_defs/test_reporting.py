"""How a node's work is told."""

from pathlib import Path

import pytest

from planasonix_orchestrator.dagster_defs.reporting import asset_key, log_line
from planasonix_orchestrator.nodes.execution import NodeResult

BASE = Path("/srv/pipelines")


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("conn_pg/public.contacts", ["conn_pg", "public", "contacts"]),
        ("conn_x/public.contacts", ["conn_x", "public.contacts"]),
        ("/srv/out/day.parquet", ["out", "day.parquet"]),
        ("/srv/pipelines/day.parquet", ["day.parquet"]),
        ("../../data/day.parquet", ["data", "day.parquet"]),
        ("s3://bucket/day.parquet", ["s3:", "bucket", "day.parquet"]),
        ("..", [".."]),
    ],
)
def test_an_asset_is_named_after_its_target(target: str, parts: list[str]) -> None:
    """A table by connection, schema and name; a file by its path from the pipelines folder, without dots."""
    assert list(asset_key(target, base=BASE, connection_ids=["conn_pg"]).path) == parts


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (NodeResult(rows_out=336776, bytes_read=31_100_000), "Read 336,776 rows (31.1 MB)"),
        (NodeResult(rows_out=1), "Read 1 row"),
        (NodeResult(rows_in=336776, rows_out=0), "Made 0 rows of 336,776 rows"),
        (NodeResult(rows_in=12, bytes_written=999, target="out.csv"), "Wrote 12 rows to out.csv (999 bytes)"),
    ],
)
def test_a_log_line_says_what_was_done(result: NodeResult, line: str) -> None:
    """One sentence for each node, with its rows and the bytes that crossed the border."""
    assert log_line(result) == line
