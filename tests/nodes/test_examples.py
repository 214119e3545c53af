"""The example of every node type, as docs/nodes.md shows it, run for real."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest

from planasonix_orchestrator.engine.connections import Connections, DuckDBConnection, PostgresConnection, Secret
from planasonix_orchestrator.nodes.base import Destination, NodeType
from planasonix_orchestrator.nodes.catalog import load_catalog
from tests.nodes.workbench import Workbench, workbench

TYPES = [each for each in load_catalog() if type(each).__module__.startswith("planasonix_orchestrator.")]

ORDERS = """SELECT * FROM (VALUES
    (1, 'Ada', 'paid', 12.50::DECIMAL(10, 2), TIMESTAMP '2025-01-05 10:00:00'),
    (2, 'Ada', 'open', 8.00, TIMESTAMP '2025-01-06 11:30:00'),
    (3, 'Zoë', 'paid', 99.99, TIMESTAMP '2025-02-01 00:00:00'),
    (4, NULL, 'open', NULL, NULL)
) AS v(order_id, customer, status, amount, ordered_at)"""
CUSTOMERS = "SELECT * FROM (VALUES ('Ada', 'GB'), ('Zoë', 'NL')) AS v(customer, country)"


@pytest.fixture
def shop(tmp_path: Path, postgres_url: str) -> Iterator[Workbench]:
    """A folder with orders in files, and connections to a Postgres and a DuckDB database."""
    with duckdb.connect() as database:
        for file, options in {
            "orders.csv": "HEADER",
            "orders.parquet": "FORMAT parquet",
            "orders.jsonl": "FORMAT json",
            "customers.csv": "HEADER",
        }.items():
            query = CUSTOMERS if file.startswith("customers") else ORDERS
            database.execute(f"COPY ({query}) TO '{tmp_path / file}' ({options})")
    with psycopg2.connect(postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE orders (order_id integer, customer text, amount numeric(10, 2))")
        cursor.execute("INSERT INTO orders VALUES (1, 'Ada', 12.50), (2, 'Zoë', NULL)")
    connection.close()
    connections = Connections(
        {
            "conn_pg": PostgresConnection(id="conn_pg", url=Secret("SHOP_URL")),
            "conn_duck": DuckDBConnection(id="conn_duck", path=tmp_path / "shop.duckdb"),
        },
        environment={"SHOP_URL": postgres_url},
    )
    with workbench(tmp_path, connections) as bench:
        yield bench


@pytest.mark.parametrize("node_type", TYPES, ids=lambda node_type: node_type.type_name)
def test_the_example_runs(shop: Workbench, node_type: NodeType[Any]) -> None:
    """An example that the docs show does something: rows come out, or are written."""
    orders, customers = shop.table("orders", ORDERS), shop.table("customers", CUSTOMERS)
    ports = {
        port.name: [orders, orders]
        if port.many and node_type.type_name == "transform.union"
        else [customers]
        if port.name == "right"
        else [orders]
        for port in node_type.inputs
    }
    result = shop.run(node_type, node_type.example, ports)
    if isinstance(node_type, Destination):
        assert result.rows_in == 4
        assert result.target
        assert result.bytes_written
    else:
        assert shop.rows(result)
