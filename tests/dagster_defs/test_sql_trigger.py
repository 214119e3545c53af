"""SQL triggers: an answer that has become new starts one run, and the trigger remembers what it has seen."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dagster import RunRequest, SensorResult, build_sensor_context

from planasonix_orchestrator.contract import tags
from tests.dagster_defs.pipelines import document, node
from tests.dagster_defs.test_repository import repository_of

NODES = [node("a", "source.numbers")]
QUERY = "SELECT id, name FROM orders"


class Shop:
    """A database of orders, and the sensor of a trigger that watches it."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self._folder = folder
        self.execute("CREATE TABLE orders (id integer, name text)")
        if not (folder / "connections.yaml").exists():
            (folder / "connections.yaml").write_text("connections: {conn: {type: duckdb, path: orders.duckdb}}")
        self.define(**config)
        self.cursor: str | None = None

    def define(self, **config: Any) -> None:
        """Write the pipeline, and load it as a code server does."""
        trigger = {"id": "trg_sql", "triggerType": "sql", "config": {"connectionId": "conn", "query": QUERY, **config}}
        variables = {"mark": {"type": "integer", "default": None}, "rows": {"default": None}}
        pipeline = document(NODES, triggers=[trigger], variables=variables)
        (self._folder / "a.json").write_text(json.dumps(pipeline))
        (self.sensor,) = repository_of(self._folder).sensor_defs

    def execute(self, statement: str, *, file: str = "orders.duckdb") -> None:
        """Change the database."""
        with duckdb.connect(str(self._folder / file)) as database:
            database.execute(statement)

    def look(self) -> Sequence[RunRequest]:
        """What one tick of the sensor asks for."""
        result = self.sensor(build_sensor_context(cursor=self.cursor))
        assert isinstance(result, SensorResult)
        self.cursor = result.cursor
        return list(result.run_requests or ())


def variables_of(request: RunRequest) -> Mapping[str, Any]:
    variables: Mapping[str, Any] = request.run_config["resources"]["variables"]["config"]
    return variables


def test_a_higher_watermark_starts_a_run(tmp_path: Path) -> None:
    """With the new value and the new rows; the same or a lower one starts none."""
    shop = Shop(tmp_path, watermarkColumn="id", watermarkVariable="mark", rowsVariable="rows")
    assert shop.look() == []
    shop.execute("INSERT INTO orders VALUES (1, 'a'), (2, 'b')")
    (request,) = shop.look()
    assert variables_of(request) == {"mark": 2, "rows": '[{"id":1,"name":"a"},{"id":2,"name":"b"}]'}
    assert request.tags == {tags.TRIGGER: "sensor", tags.TRIGGER_ID: "trg_sql", tags.EVENT_SUMMARY: "id 2"}
    assert shop.look() == []
    shop.execute("DELETE FROM orders; INSERT INTO orders VALUES (1, 'x')")
    assert shop.look() == []
    shop.execute("INSERT INTO orders VALUES (3, 'c')")
    (later,) = shop.look()
    assert variables_of(later) == {"mark": 3, "rows": '[{"id":3,"name":"c"}]'}
    assert later.run_key != request.run_key


def test_other_rows_start_a_run(tmp_path: Path) -> None:
    """In whatever order they come; also rows that had been there before and have come back, but no lack of rows."""
    shop = Shop(tmp_path, rowsVariable="rows")
    keys = []
    for statement in (
        "INSERT INTO orders VALUES (1, 'a')",
        "UPDATE orders SET name = 'b'",
        "UPDATE orders SET name = 'a'",
    ):
        shop.execute(statement)
        (request,) = shop.look()
        assert json.loads(variables_of(request)["rows"])[0]["id"] == 1
        assert request.tags[tags.EVENT_SUMMARY] == "1 row"
        keys.append(request.run_key)
        assert shop.look() == []
    shop.execute("DELETE FROM orders")
    assert shop.look() == []
    shop.execute("INSERT INTO orders VALUES (1, 'a')")
    (again,) = shop.look()
    assert len({*keys, again.run_key}) == 4
    shop.execute("DELETE FROM orders; INSERT INTO orders VALUES (2, 'b'); INSERT INTO orders VALUES (1, 'a')")
    assert len(shop.look()) == 1
    shop.execute(
        "CREATE TABLE other AS SELECT * FROM orders ORDER BY id; DROP TABLE orders; ALTER TABLE other RENAME TO orders"
    )
    assert shop.look() == []


@pytest.mark.parametrize("how", [{"watermarkColumn": "id"}, {}])
def test_what_is_there_already_may_not_count(tmp_path: Path, how: dict[str, str]) -> None:
    """Then only what comes after the first look starts a run."""
    shop = Shop(tmp_path, ignoreExisting=True, **how)
    shop.execute("INSERT INTO orders VALUES (1, 'a')")
    assert shop.look() == []
    assert shop.look() == []
    shop.execute("INSERT INTO orders VALUES (2, 'a')")
    assert len(shop.look()) == 1


@pytest.mark.parametrize("how", [{"watermarkColumn": "id"}, {}])
def test_a_look_that_is_repeated_asks_for_the_same_run(tmp_path: Path, how: dict[str, str]) -> None:
    """A daemon that was killed before it had stored the answer asks again, and Dagster makes one run of one key."""
    shop = Shop(tmp_path, **how)
    shop.execute("INSERT INTO orders VALUES (1, 'a')")
    (first,) = shop.look()
    shop.cursor = None
    (second,) = shop.look()
    assert first.run_key == second.run_key


def test_the_connection_is_that_of_the_environment(tmp_path: Path) -> None:
    """As in the run that it starts."""
    (tmp_path / "connections.yaml").write_text(
        "connections: {conn: {type: duckdb, path: none.duckdb}, test: {type: duckdb, path: orders.duckdb}}"
    )
    (tmp_path / "environments.yaml").write_text("default: t\nenvironments: {t: {name: T, connections: {conn: test}}}")
    shop = Shop(tmp_path)
    shop.execute("INSERT INTO orders VALUES (1, 'a')")
    (request,) = shop.look()
    assert request.tags[tags.ENVIRONMENT_ID] == "t"


def test_a_look_that_fails_says_why_and_forgets_nothing(tmp_path: Path) -> None:
    """The next one goes on from where the last good one was."""
    shop = Shop(tmp_path, watermarkColumn="id")
    shop.execute("INSERT INTO orders VALUES (1, 'a')")
    assert len(shop.look()) == 1
    shop.execute("ALTER TABLE orders RENAME TO moved")
    with pytest.raises(Exception, match=r"connection 'conn': .*orders"):
        shop.look()
    shop.execute("ALTER TABLE moved RENAME TO orders")
    assert shop.look() == []


def test_rows_that_are_too_large_for_a_variable(tmp_path: Path) -> None:
    """They are refused with the variable's name."""
    shop = Shop(tmp_path, rowsVariable="rows")
    shop.execute("INSERT INTO orders VALUES (1, repeat('x', 300000))")
    with pytest.raises(Exception, match=r"variable 'rows' are 300,0.. characters"):
        shop.look()


def test_another_text_is_not_a_cursor(tmp_path: Path) -> None:
    """Whoever sets the cursor in the Dagster UI is told so."""
    shop = Shop(tmp_path)
    for text in ("x", '{"a": 1}', "[]"):
        shop.cursor = text
        with pytest.raises(Exception, match="not the cursor of a SQL trigger"):
            shop.look()
