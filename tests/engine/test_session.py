"""The session: exact figures, memory, threads, retries, and errors that say which node is to blame."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from planasonix_orchestrator.engine.faults import as_node_error
from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.engine.stopping import Work
from planasonix_orchestrator.errors import NodeError, NodeInterruptedError, NodeOutOfMemoryError

ENDLESS = "SELECT sum(a.range * b.range) AS total FROM range(10000000) AS a, range(10000000) AS b"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A session with room enough."""
    with Session(spill=tmp_path / "spill", threads=2) as session:
        yield session


def query(text: str) -> exp.Query:
    """A query as nodes build them."""
    parsed = sqlglot.parse_one(text, dialect="duckdb")
    assert isinstance(parsed, exp.Query)
    return parsed


def rows(session: Session, name: str) -> list[tuple[object, ...]]:
    """All rows of a relation."""
    with session.cursor() as cursor:
        return cursor.execute(f'FROM nodes."{name}"').fetchall()


def test_a_view_has_columns_but_no_figures(session: Session) -> None:
    """Defining a relation checks its columns and reads no row."""
    relation = session.define("n", query("SELECT 1::DECIMAL(9, 2) AS a, {'x': [DATE '2024-01-01']} AS b"))
    assert [(column.name, column.type) for column in relation.columns] == [
        ("a", "DECIMAL(9,2)"),
        ("b", "STRUCT(x DATE[])"),
    ]
    assert (relation.rows, relation.bytes_shuffled, relation.materialised) == (None, None, False)


def test_counts_are_exact_over_fused_views(session: Session) -> None:
    """Each view of a chain is counted exactly, though none is materialised."""
    first = session.count(session.define("a", query("SELECT range AS i FROM range(1000)")))
    second = session.count(session.define("b", first.select().where("i % 3 = 0")))
    third = session.count(session.define("c", second.select().where("i > 500")))
    assert [first.rows, second.rows, third.rows] == [1000, 334, 167]


def test_a_materialised_relation_is_computed_once(session: Session) -> None:
    """Rows that would differ each time are the same for all readers once they are kept."""
    view = session.define("n", query("SELECT random() AS r, 'äb' AS text FROM range(100)"))
    table = session.materialise(view)
    assert rows(session, "n") == rows(session, "n")
    assert (table.materialised, table.rows, table.name) == (True, 100, "n")
    assert table.bytes_shuffled == 100 * (8 + 3)


def test_a_name_may_be_used_again(session: Session) -> None:
    """A node that is tried again replaces what its first attempt left, be it a view or a table."""
    for number in range(3):
        view = session.define("n", query(f"SELECT {number} AS i"))
        session.materialise(view)
        session.load("m", pa.RecordBatchReader.from_batches(pa.schema([("i", pa.int64())]), iter(())))
    assert rows(session, "n") == [(2,)]
    session.define("m", query("SELECT 7 AS i"))
    assert rows(session, "m") == [(7,)]


def test_a_stream_is_loaded_batch_by_batch(session: Session) -> None:
    """Loading counts rows and Arrow bytes; no more than a few batches are alive at a time."""
    schema = pa.schema([("i", pa.int64())])
    batch = pa.record_batch([pa.array(range(10_000))], schema=schema)
    relation = session.load("n", pa.RecordBatchReader.from_batches(schema, (batch for _ in range(50))))
    assert (relation.rows, relation.bytes_read) == (500_000, 50 * 80_000)
    assert relation.bytes_shuffled == 4_000_000


def test_an_error_in_a_stream_comes_out_as_itself(session: Session) -> None:
    """What fails while batches are read is raised, not DuckDB's report of it, and no table is left."""

    def failing() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"i": [1]})
        raise NodeError("the source is gone")

    with pytest.raises(NodeError, match="the source is gone"):
        session.load("n", pa.RecordBatchReader.from_batches(pa.schema([("i", pa.int64())]), failing()))
    with pytest.raises(NodeError, match="does not exist"):
        rows(session, "n")


def test_rows_stream_out_while_the_query_runs(session: Session) -> None:
    """The first batch is there long before the last row; leaving early is fine."""
    relation = session.define("n", query("SELECT range AS i FROM range(1000000000000)"))
    with session.stream(relation.select(), rows_per_batch=1000) as stream:
        assert next(iter(stream.reader)).num_rows >= 1000
    with session.stream(query("SELECT range AS i FROM range(5)")) as stream:
        assert sum(batch.num_rows for batch in stream.reader) == stream.rows == 5


def test_a_relation_may_be_larger_than_memory(tmp_path: Path) -> None:
    """What does not fit goes to the spill folder, which is gone in the end."""
    spill = tmp_path / "spill"
    with Session(spill=spill, memory_limit="60MB", threads=1) as session:
        relation = session.materialise(
            session.define("n", query("SELECT range AS i, hash(range) AS h, hash(range + 1) AS g FROM range(6000000)"))
        )
        assert relation.rows == 6_000_000
        assert relation.bytes_shuffled == 6_000_000 * 24
        assert sum(file.stat().st_size for file in spill.rglob("*") if file.is_file()) > 0
        assert session.number(query("SELECT count(DISTINCT i) FROM nodes.n")) == 6_000_000
    assert not spill.exists()


def test_interrupt_stops_what_runs_in_other_threads(session: Session) -> None:
    """A query that would take for ever ends at once, as an interrupt and not as a fault of the node."""
    relation = session.define("n", query(ENDLESS))
    errors: list[NodeError] = []

    work = Work()

    def materialise() -> None:
        try:
            work.do(lambda: session.materialise(relation))
        except NodeError as error:
            errors.append(error)

    thread = threading.Thread(target=materialise)
    thread.start()
    while not session._cursors:
        pass
    work.stop(KeyboardInterrupt)
    thread.join()
    assert [type(error) for error in errors] == [NodeInterruptedError]


def test_duckdbs_message_is_kept(session: Session) -> None:
    """An error says what DuckDB said, without the SQL that we generated."""
    with pytest.raises(NodeError, match='Referenced column "nope" not found') as caught:
        session.define("n", query("SELECT nope FROM range(1)"))
    assert "LINE" not in str(caught.value)
    assert "CREATE VIEW" not in str(caught.value)


def test_the_node_at_fault_is_named(session: Session) -> None:
    """A bad value that shows where rows are read is laid at the door of the view that computes it."""
    source = session.define("source", query("SELECT CASE WHEN range = 9 THEN 'x' ELSE '1' END AS t FROM range(10)"))
    cast = session.define("to_number", source.select("CAST(t AS INTEGER) AS t"))
    last = session.define("doubled", cast.select("t * 2 AS t"))
    with pytest.raises(NodeError) as caught:
        session.materialise(last)
    blamed = session.blame(caught.value, readers=[cast])
    assert str(blamed).startswith("node 'to_number': Conversion Error: Could not convert string 'x' to INT32")


@pytest.mark.parametrize("streamed", [False, True])
def test_too_little_memory_is_told_as_that(tmp_path: Path, *, streamed: bool) -> None:
    """A query that needs more than the limit is out of memory, in a stream, too; no other node is blamed for it."""

    def read(session: Session, relation: Relation) -> None:
        if not streamed:
            session.materialise(relation)
        with session.stream(relation.select()) as stream:
            stream.reader.read_all()

    with Session(spill=tmp_path / "spill", memory_limit="20MB", threads=1) as session:
        source = session.define("source", query("SELECT range AS n FROM range(20000000)"))
        listed = session.define("listed", source.select("list(n) AS ns"))
        with pytest.raises(NodeOutOfMemoryError, match=r"^out of memory: failed to .* \(raise memoryLimit") as caught:
            read(session, listed)
        assert session.blame(caught.value, readers=[listed]) is caught.value


def test_memory_errors_of_all_origins_are_told_alike() -> None:
    """DuckDB's own class, its text in an Arrow stream, and what Python and Arrow raise."""
    text = "Out of Memory Error: failed to allocate data of size 16.0 MiB\n\nPossible solutions:\n* Reducing"
    told = [as_node_error(error) for error in (duckdb.OutOfMemoryException(text), OSError(text))]
    told += [as_node_error(error) for error in (MemoryError(), pa.ArrowMemoryError("malloc of size 16 failed"))]
    assert {type(each) for each in told} == {NodeOutOfMemoryError}
    assert [str(each).partition(" (")[0] for each in told] == [
        "out of memory: failed to allocate data of size 16.0 MiB",
        "out of memory: failed to allocate data of size 16.0 MiB",
        "out of memory",
        "out of memory: malloc of size 16 failed",
    ]


def test_an_error_that_no_row_causes_is_left_alone(session: Session) -> None:
    """Views are not computed again for an error that has nothing to do with their rows."""
    view = session.define("n", query(ENDLESS))
    error = NodeError("the disk is full")
    assert session.blame(error, readers=[view]) is error


def test_nothing_is_downloaded_and_python_variables_are_no_tables(session: Session) -> None:
    """A misspelt table is an error even if a variable of the program has its name."""
    variable = pa.table({"a": [1]})
    assert variable.num_rows == 1
    with pytest.raises(NodeError, match="variable does not exist"):
        session.define("n", query("SELECT * FROM variable"))


def test_times_are_in_utc_on_every_cursor(session: Session) -> None:
    """The zone of the machine never shows in a value."""
    session.define("n", query("SELECT CAST(TIMESTAMPTZ '2024-07-01 12:00:00+02' AS VARCHAR) AS t"))
    assert rows(session, "n") == [("2024-07-01 10:00:00+00",)]


def test_names_that_differ_in_case_only_are_different(session: Session) -> None:
    """Node ids that DuckDB would take for one name, or that look like a stored one, are different relations."""
    names = ("node", "Node", "NODE", "^node", "^Node")
    relations = [session.define(name, query(f"SELECT {number} AS value")) for number, name in enumerate(names)]
    kept = [session.materialise(relation) for relation in relations]
    assert [session.number(relation.select()) for relation in kept] == [0, 1, 2, 3, 4]


def test_unfinished_rows_are_nobody_elses(session: Session) -> None:
    """Keeping the rows of a relation touches no other, whatever that is called."""
    other = session.materialise(session.define("n rows", query("SELECT 1 AS value")))
    session.materialise(session.define("n", query("SELECT 2 AS value")))
    assert session.number(other.select()) == 1


def test_many_nodes_use_a_session_at_once(session: Session) -> None:
    """Views and tables are made, replaced, kept and read from many threads, and every figure is exact."""
    base = session.define("base", query("SELECT range AS i FROM range(1000)"))

    def work(number: int) -> list[int | None]:
        figures = []
        for _ in range(4):
            view = session.define(f"v{number}", base.select().where(f"i % 8 = {number}"))
            figures.append(session.count(view).rows)
            figures.append(session.materialise(view).rows)
            stream = pa.RecordBatchReader.from_batches(pa.schema([("i", pa.int64())]), iter(()))
            figures.append(session.load(f"t{number}", stream).rows)
        return figures

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [[125, 125, 0] * 4] * 8


def test_a_file_is_not_replaced_while_it_is_read(session: Session, tmp_path: Path) -> None:
    """Rows of views of a file are kept before it is replaced, and whoever reads it then is waited for."""
    file = tmp_path / "rows.csv"
    file.write_text("i\n1\n2\n")
    relation = session.define("n", query(f"SELECT * FROM read_csv('{file}')"), files=[file])
    kept = threading.Event()

    def keep() -> None:
        session.keep_rows_of(file)
        kept.set()

    with session.stream(relation.select()) as stream:
        thread = threading.Thread(target=keep)
        thread.start()
        assert not kept.wait(0.3)
        assert sum(batch.num_rows for batch in stream.reader) == 2
    thread.join()
    file.write_text("i\n3\n")
    assert rows(session, "n") == [(1,), (2,)]


def test_rows_are_kept_once(session: Session) -> None:
    """Two who need a view's rows at once get the same table."""
    view = session.define("n", query("SELECT random() AS r FROM range(100000)"))
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: session.materialise(view), range(4)))
    assert {(table.materialised, table.rows, table.bytes_shuffled) for table in tables} == {(True, 100_000, 800_000)}
