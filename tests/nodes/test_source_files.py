"""source.csv, source.parquet and source.json: what they read, exactly, and how they say what they can't."""

import gzip
from pathlib import Path
from typing import Any

import duckdb
import pytest

from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.sources.csv import CsvSource
from planasonix_orchestrator.nodes.sources.json import JsonSource
from planasonix_orchestrator.nodes.sources.parquet import ParquetSource
from tests.nodes.workbench import Workbench


def put(bench: Workbench, name: str, text: str) -> Path:
    """A file in the base folder."""
    path = bench.base / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(bench: Workbench, source: Any, **config: object) -> str:
    """The error with which a source refuses."""
    with pytest.raises(NodeError) as caught:
        bench.run(source, config)
    return str(caught.value)


def test_csv_finds_out_types_and_nulls(bench: Workbench) -> None:
    """Types come from the rows, null markers are NULL, quoted markers are text, and figures are exact."""
    path = put(bench, "a.csv", 'id,name,day\n1,"Zoë ""Z""\nvan",2024-02-29\n2,NA,NA\n3,"NA",2024-01-01\n')
    result = bench.run(CsvSource(), {"path": "a.csv", "nullValues": ["NA"]})
    assert bench.columns(result) == ["id BIGINT", "name VARCHAR", "day DATE"]
    assert [(row[0], row[1], str(row[2])) for row in bench.rows(result)] == [
        (1, 'Zoë "Z"\nvan', "2024-02-29"),
        (2, None, "None"),
        (3, "NA", "2024-01-01"),
    ]
    assert (result.rows_out, result.bytes_read) == (3, path.stat().st_size)


def test_csv_takes_types_as_told(bench: Workbench) -> None:
    """A DECIMAL column gets every digit of the text."""
    put(bench, "a.csv", "amount,code\n123456789012345678.90,007\n")
    types = {"amount": "DECIMAL(30,2)", "code": "VARCHAR"}
    result = bench.run(CsvSource(), {"path": "a.csv", "columnTypes": types})
    assert [[str(value) for value in row] for row in bench.rows(result)] == [["123456789012345678.90", "007"]]


def test_csv_reads_other_dialects(bench: Workbench) -> None:
    """Delimiter, quote, escape, encoding and a missing header are as the config says."""
    (bench.base / "a.txt").write_bytes("1;'caf\\'é';x\n".encode("latin-1"))
    config = {
        "path": "a.txt",
        "delimiter": ";",
        "quote": "'",
        "escape": "\\",
        "encoding": "latin-1",
        "header": False,
        "columns": ["id", "text", 'odd "name"'],
    }
    result = bench.run(CsvSource(), config)
    assert bench.rows(result) == [(1, "caf'é", "x")]
    assert bench.columns(result)[2] == 'odd "name" VARCHAR'


def test_csv_reads_all_files_of_a_glob(bench: Workbench) -> None:
    """Files in folders, packed or not; hidden ones are left out."""
    put(bench, "in/a.csv", "id,name\n1,a\n")
    put(bench, "in/deep/b.csv", "id,name\n2,b\n")
    put(bench, "in/.hidden.csv", "id,name\n9,z\n")
    (bench.base / "in/c.csv.gz").write_bytes(gzip.compress(b"id,name\n3,c\n"))
    result = bench.run(CsvSource(), {"path": "in/**/*.csv*"})
    assert sorted(bench.rows(result)) == [(1, "a"), (2, "b"), (3, "c")]


def test_csv_columns_go_by_name(bench: Workbench) -> None:
    """Files may have their columns in another order, but not others."""
    put(bench, "1.csv", "id,name\n1,a\n")
    put(bench, "2.csv", "name,id\nb,2\n")
    assert [tuple(map(str, row)) for row in bench.rows(bench.run(CsvSource(), {"path": "*.csv"}))] == [
        ("1", "a"),
        ("2", "b"),
    ]
    put(bench, "3.csv", "id,nome\n3,c\n")
    assert 'Column with name: "name" is missing' in refusal(bench, CsvSource(), path="*.csv")


def test_a_file_name_with_glob_characters_means_itself(bench: Workbench) -> None:
    """A file that is there is read, whatever its name."""
    put(bench, "we[i]rd*.csv", "a\n1\n")
    put(bench, "weird2.csv", "a\n2\n")
    assert bench.rows(bench.run(CsvSource(), {"path": "we[i]rd*.csv"})) == [(1,)]


def test_csv_errors_name_file_line_and_column(bench: Workbench) -> None:
    """A bad value, a short line, a long line: the place and the reason, not a row less."""
    path = put(bench, "a.csv", "id,amount\n1,2.5\n2,oops\n")
    said = refusal(bench, CsvSource(), path="a.csv", columnTypes={"amount": "DECIMAL(9,2)"})
    assert said.startswith(f'{path}, line 3: Error when converting column "amount". Could not convert string "oops"')
    assert "nullValues" in said
    for bad in ("3\n", "4,5,6\n"):
        path = put(bench, "b.csv", f"id,amount\n1,2\n{bad}")
        assert refusal(bench, CsvSource(), path="b.csv").startswith(f"{path}, line 3: Expected Number of Columns: 2")


def test_csv_never_takes_lines_for_a_preamble(bench: Workbench) -> None:
    """Several lines of other lengths at the top are an error; a CSV reader that guesses would skip them."""
    put(bench, "a.csv", "a,b\n1,2\n3\n4,5,6\n7,8,9\n")
    assert "line 3" in refusal(bench, CsvSource(), path="a.csv")


def test_csv_with_a_header_only_has_no_rows(bench: Workbench) -> None:
    """The columns are there, as text."""
    put(bench, "a.csv", "id,name\n")
    result = bench.run(CsvSource(), {"path": "a.csv"})
    assert bench.columns(result) == ["id VARCHAR", "name VARCHAR"]
    assert bench.rows(result) == []


@pytest.mark.parametrize("source", [CsvSource(), ParquetSource(), JsonSource()], ids=lambda each: each.type_name)
def test_a_missing_file_is_named(bench: Workbench, source: Any) -> None:
    """A path that leads nowhere and a glob without matches say where they looked."""
    assert refusal(bench, source, path="no.file").startswith(f"file {bench.base}/no.file does not exist")
    assert refusal(bench, source, path="no*.file").startswith(f"no file matches {bench.base}/no*.file")


def test_parquet_keeps_every_type(bench: Workbench) -> None:
    """What was written comes back, nested values and zones too."""
    select = """SELECT 12345678901234567890.12::DECIMAL(38, 2) AS n, TIMESTAMPTZ '2024-07-01 12:00:00+02' AS z,
                       DATE '2024-02-29' AS d, {'a': [1, NULL]} AS s, MAP {'k': 'ü'} AS m, NULL::INTEGER AS nothing"""
    with duckdb.connect() as database:
        database.execute(f"COPY ({select}) TO '{bench.base / 'a.parquet'}'")
    result = bench.run(ParquetSource(), {"path": "a.parquet"})
    assert bench.columns(result) == [
        "n DECIMAL(38,2)",
        "z TIMESTAMP WITH TIME ZONE",
        "d DATE",
        "s STRUCT(a INTEGER[])",
        "m MAP(VARCHAR, VARCHAR)",
        "nothing INTEGER",
    ]
    with bench.session.cursor() as cursor:
        texts = cursor.execute(f"SELECT COLUMNS(*)::VARCHAR FROM nodes.{result.relation.name}").fetchall()  # type: ignore[union-attr]
    assert texts == [
        ("12345678901234567890.12", "2024-07-01 10:00:00+00", "2024-02-29", "{'a': [1, NULL]}", "{k=ü}", None)
    ]
    assert (result.rows_out, result.bytes_read) == (1, (bench.base / "a.parquet").stat().st_size)
    assert result.bytes_shuffled is None


def test_parquet_reads_a_partitioned_folder(bench: Workbench) -> None:
    """Folder names become columns; a glob leaves them out unless asked."""
    with duckdb.connect() as database:
        query = "SELECT range AS i, 2010 + range % 3 AS year FROM range(9)"
        database.execute(f"COPY ({query}) TO '{bench.base / 'sales'}' (FORMAT parquet, PARTITION_BY (year))")
    folder = bench.run(ParquetSource(), {"path": "sales"})
    assert sorted(bench.rows(folder))[:2] == [(0, 2010), (1, 2011)]
    assert bench.columns(bench.run(ParquetSource(), {"path": "sales/*/*.parquet"})) == ["i BIGINT"]
    asked = bench.run(ParquetSource(), {"path": "sales/year=2011/*.parquet", "hivePartitions": True})
    assert sorted(bench.rows(asked)) == [(1, 2011), (4, 2011), (7, 2011)]


def test_parquet_files_may_differ_by_name(bench: Workbench) -> None:
    """With unionByName, columns that a file does not have are NULL in its rows."""
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT 1 AS a) TO '{bench.base / '1.parquet'}'")
        database.execute(f"COPY (SELECT 'x' AS b, 2 AS a) TO '{bench.base / '2.parquet'}'")
    result = bench.run(ParquetSource(), {"path": "*.parquet", "unionByName": True})
    assert sorted(bench.rows(result), key=str) == [(1, None), (2, "x")]


def test_json_reads_lines_and_arrays(bench: Workbench) -> None:
    """Both forms give the same rows, nested values included; a key may be missing."""
    put(bench, "a.jsonl", '{"a":1,"b":{"c":["ü"]}}\n{"a":2,"d":null}\n')
    put(bench, "a.json", '[{"a":1,"b":{"c":["ü"]}},\n {"a":2,"d":null}]')
    for path, form in (("a.jsonl", "lines"), ("a.json", "array"), ("a.jsonl", "auto"), ("a.json", "auto")):
        result = bench.run(JsonSource(), {"path": path, "format": form})
        assert bench.columns(result) == ["a BIGINT", "b STRUCT(c VARCHAR[])", "d VARCHAR"]
        assert bench.rows(result) == [(1, {"c": ["ü"]}, None), (2, None, None)]


def test_json_numbers_keep_their_digits(bench: Workbench) -> None:
    """A column told to be DECIMAL is read from the text, not by way of a float; the other columns stay."""
    put(bench, "a.jsonl", '{"n":12345678901234567890.123456,"x":1}\n{"x":[]}\n{"n":null}\n')
    result = bench.run(JsonSource(), {"path": "a.jsonl", "columnTypes": {"n": "DECIMAL(38,6)"}})
    assert [tuple(map(str, row)) for row in bench.rows(result)] == [
        ("12345678901234567890.123456", "1"),
        ("None", "[]"),
        ("None", "None"),
    ]
    assert "no column 'm'" in refusal(bench, JsonSource(), path="a.jsonl", columnTypes={"m": "INTEGER"})


def test_json_finds_keys_that_come_late(bench: Workbench) -> None:
    """A key or type that only the last of many rows has is not lost."""
    put(bench, "a.jsonl", '{"a":1}\n' * 30_000 + '{"a":2.5,"late":"x"}\n')
    result = bench.run(JsonSource(), {"path": "a.jsonl"})
    assert bench.rows(result)[-1] == (2.5, "x")


def test_json_errors_name_file_and_line(bench: Workbench) -> None:
    """A file that breaks off is refused."""
    put(bench, "a.jsonl", '{"a":1}\n{"a":\n')
    assert "a.jsonl" in (said := refusal(bench, JsonSource(), path="a.jsonl"))
    assert "line" in said


def test_csv_knows_no_comments(bench: Workbench) -> None:
    """A line that begins with # is a row like any other, and nothing is cut off behind one."""
    put(bench, "a.csv", "a,b\n1,2 # two\n#3,4\n5,6\n")
    result = bench.run(CsvSource(), {"path": "a.csv"})
    assert bench.rows(result) == [("1", "2 # two"), ("#3", "4"), ("5", "6")]


def test_json_keys_that_differ_in_case_only_are_refused(bench: Workbench) -> None:
    """Columns can't be called so, and a value must not get lost; a key that only looks renamed is read."""
    put(bench, "a.jsonl", '{"a":1,"A":2,"z":null}\n{"A":3}\n')
    assert "the keys 'A' and 'a' differ only in case" in refusal(bench, JsonSource(), path="a.jsonl")
    put(bench, "b.jsonl", '{"a":1,"a_1":2,"z":null}\n')
    assert bench.rows(bench.run(JsonSource(), {"path": "b.jsonl"})) == [(1, 2, None)]


def test_parquet_files_are_read_in_the_widest_of_their_types(bench: Workbench) -> None:
    """No value is squeezed into the type that another file has for its column."""
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT 1::INTEGER AS x) TO '{bench.base / '1.parquet'}'")
        database.execute(f"COPY (SELECT 1.5::DOUBLE AS x) TO '{bench.base / '2.parquet'}'")
    assert bench.rows(bench.run(ParquetSource(), {"path": "*.parquet"})) == [(1.0,), (1.5,)]


def test_parquet_files_with_other_columns_are_read_only_if_asked_for(bench: Workbench) -> None:
    """A column that only some files have is an error that names it, or NULL where a file lacks it."""
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT 1 AS x) TO '{bench.base / '1.parquet'}'")
        database.execute(f"COPY (SELECT 2 AS x, 3 AS y) TO '{bench.base / '2.parquet'}'")
    assert "differ in columns: y" in refusal(bench, ParquetSource(), path="*.parquet")
    result = bench.run(ParquetSource(), {"path": "*.parquet", "unionByName": True})
    assert bench.rows(result) == [(1, None), (2, 3)]
