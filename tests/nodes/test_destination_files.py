"""destination.parquet, .csv and .json: complete or not there at all, and every value as it was."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from planasonix_orchestrator.engine import replacement
from planasonix_orchestrator.engine.replacement import replaced_file, replaced_folder
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.destinations.csv import CsvDestination
from planasonix_orchestrator.nodes.destinations.json import JsonDestination
from planasonix_orchestrator.nodes.destinations.parquet import ParquetDestination
from planasonix_orchestrator.nodes.sources.parquet import ParquetSource
from planasonix_orchestrator.nodes.transforms.filter import Filter
from tests.nodes.killing import kill_while_writing
from tests.nodes.workbench import Workbench

VALUES = """SELECT 1 AS id, 12345678901234567890.12::DECIMAL(38, 2) AS n, 'ü "q", 😀' AS t, '' AS e, NULL::VARCHAR AS x,
                   TIMESTAMPTZ '2024-07-01 12:00:00+02' AS z, DATE '2024-02-29' AS d, {'a': [1, NULL]} AS s,
                   170141183460469231731687303715884105::HUGEINT AS h, 'nan'::DOUBLE AS f"""
FILES: list[tuple[Any, dict[str, str]]] = [
    (ParquetDestination(), {"path": "out/target.parquet"}),
    (CsvDestination(), {"path": "out/target.csv"}),
    (CsvDestination(), {"path": "out/target.csv.gz"}),
    (JsonDestination(), {"path": "out/target.json", "format": "array"}),
]
ids = lambda value: value["path"] if isinstance(value, dict) else None  # noqa: E731


def read(path: Path) -> list[tuple[Any, ...]]:
    """The rows of a file of any of the three kinds, or of a folder."""
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        source = f"read_parquet('{path}/**/*.parquet')" if path.is_dir() else f"'{path}'"
        return database.execute(f"SELECT COLUMNS(*)::VARCHAR FROM {source} ORDER BY ALL").fetchall()


def names(folder: Path) -> list[str]:
    """What is in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_parquet_keeps_every_value(bench: Workbench) -> None:
    """Decimals, zones, nested values and whole numbers past 64 bits come back as they were."""
    result = bench.run(ParquetDestination(), {"path": "out/a.parquet"}, bench.table("rows", VALUES))
    path = bench.base / "out/a.parquet"
    assert read(path) == [
        (
            "1",
            "12345678901234567890.12",
            'ü "q", 😀',
            "",
            None,
            "2024-07-01 10:00:00+00",
            "2024-02-29",
            "{'a': [1, NULL]}",
            "170141183460469231731687303715884105",
            "nan",
        )
    ]
    assert (result.rows_in, result.bytes_written, result.target) == (1, path.stat().st_size, str(path))


def test_csv_is_written_exactly(bench: Workbench) -> None:
    """Quotes where needed, an empty text apart from NULL, nested values as JSON, instants in UTC."""
    bench.run(CsvDestination(), {"path": "a.csv", "nullValue": "NA"}, bench.table("rows", VALUES))
    assert (bench.base / "a.csv").read_text(encoding="utf-8") == (
        "id,n,t,e,x,z,d,s,h,f\n"
        '1,12345678901234567890.12,"ü ""q"", 😀",,NA,2024-07-01 10:00:00+00,2024-02-29,"{""a"":[1,null]}",'
        "170141183460469231731687303715884105,nan\n"
    )
    rows = bench.table("more", "SELECT NULL AS a, '' AS b")
    bench.run(CsvDestination(), {"path": "b.csv.gz", "header": False, "delimiter": ";"}, rows)
    assert gzip.decompress((bench.base / "b.csv.gz").read_bytes()) == b';""\n'


def test_json_is_written_exactly(bench: Workbench) -> None:
    """Lines or one array, valid JSON with every digit; what JSON has no number for is a text."""
    bench.run(JsonDestination(), {"path": "a.jsonl"}, bench.table("rows", VALUES))
    text = (bench.base / "a.jsonl").read_text(encoding="utf-8")
    assert '"n":12345678901234567890.12,' in text
    row = json.loads(text)
    assert (row["t"], row["e"], row["x"], row["s"], row["f"]) == ('ü "q", 😀', "", None, {"a": [1, None]}, "nan")
    assert (row["z"], row["h"]) == ("2024-07-01 10:00:00+00", 170141183460469231731687303715884105)
    bench.run(
        JsonDestination(), {"path": "b.json", "format": "array"}, bench.table("more", "SELECT range FROM range(3)")
    )
    assert json.loads((bench.base / "b.json").read_text()) == [{"range": 0}, {"range": 1}, {"range": 2}]


def test_no_rows_make_a_file_too(bench: Workbench) -> None:
    """An empty result replaces an old one."""
    rows = bench.table("rows", "SELECT 1 AS a WHERE false")
    for node_type, config in FILES:
        bench.run(node_type, config, rows)
        assert (bench.base / config["path"]).exists()
    assert read(bench.base / "out/target.parquet") == []


@pytest.mark.parametrize(("node_type", "config"), FILES, ids=ids)
def test_a_failure_leaves_the_old_file(bench: Workbench, node_type: Any, config: Mapping[str, str]) -> None:
    """Whatever goes wrong while rows are written, the file stays as it was and nothing lies beside it."""
    bench.run(node_type, config, bench.table("rows", "SELECT 7 AS id"))
    path = bench.base / config["path"]
    before = path.read_bytes()
    text = bench.table("text", "SELECT CASE WHEN range = 499999 THEN 'x' ELSE '1' END AS t FROM range(500000)")
    bad = bench.session.define("bad", text.select("CAST(t AS INTEGER) AS t")).with_figures(rows=500_000)
    with pytest.raises(NodeError, match="node 'bad': Conversion Error"):
        bench.run(node_type, config, bad)
    with pytest.raises(NodeError, match="2 rows were counted, but 1 arrived"):
        bench.run(node_type, config, bench.session.define("one", text.select().limit(1)).with_figures(rows=2))
    assert path.read_bytes() == before
    assert names(path.parent) == [path.name]


@pytest.mark.stack
@pytest.mark.parametrize(("node_type", "config"), [FILES[0], FILES[2]], ids=ids)
def test_a_killed_run_leaves_the_old_file(bench: Workbench, node_type: Any, config: Mapping[str, str]) -> None:
    """After SIGKILL in the middle the file is as it was; the next write removes what was left behind."""
    bench.run(node_type, config, bench.table("rows", "SELECT 7 AS id"))
    path = bench.base / config["path"]
    before = path.read_bytes()
    kill_while_writing(node_type.type_name, config, base=bench.base, seconds=0.5)
    assert path.read_bytes() == before
    assert len(names(path.parent)) == 2
    bench.run(node_type, config, bench.table("rows", "SELECT 8 AS id"))
    assert read(path) == [("8",)]
    assert names(path.parent) == [path.name]


PARTITIONED = {"path": "out/target", "partitionBy": ["id"]}


def test_partitions_replace_the_whole_folder(bench: Workbench) -> None:
    """Old partitions go, new ones come, in one step."""
    bench.run(ParquetDestination(), PARTITIONED, bench.table("rows", "SELECT range AS id, 'a' AS name FROM range(3)"))
    result = bench.run(ParquetDestination(), PARTITIONED, bench.table("rows", "SELECT 5 AS id, 'b' AS name"))
    assert names(bench.base / "out/target") == ["id=5"]
    assert names(bench.base / "out") == ["target"]
    assert result.details == {"files": 1}


def test_a_failure_leaves_the_old_folder(bench: Workbench) -> None:
    """Whether the rows fail or the process is killed."""
    bench.run(ParquetDestination(), PARTITIONED, bench.table("rows", "SELECT 1 AS id, 'a' AS name"))
    text = bench.table("text", "SELECT 'x' AS id, 'b' AS name")
    with pytest.raises(NodeError, match="Conversion Error"):
        bench.run(
            ParquetDestination(), PARTITIONED, bench.session.define("bad", text.select("CAST(id AS INT) AS id", "name"))
        )
    path = bench.base / "out/target"
    kill_while_writing("destination.parquet", {**PARTITIONED, "partitionBy": ["name"]}, base=bench.base, seconds=0.5)
    assert read(path) == [("a", "1")]


@pytest.mark.parametrize("file", ["notes.txt", "id=1/notes.txt", "loose.parquet", "other/x.parquet"])
def test_a_folder_with_other_things_is_not_replaced(bench: Workbench, file: str) -> None:
    """A path that leads to somebody's folder must not destroy it."""
    path = bench.base / "out/target" / file
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(NodeError, match="holds more than partitions"):
        bench.run(ParquetDestination(), PARTITIONED, bench.table("rows", "SELECT 1 AS id, 'a' AS name"))
    assert path.exists()


def test_a_folder_moved_aside_is_brought_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a way to swap folders in one step, a crash between the two moves is mended by the next write."""
    monkeypatch.setattr(replacement, "_exchange_in_one_step", lambda _one, _other: False)
    target = tmp_path / "target"
    for number in (1, 2):
        with replaced_folder(target, suffix=".parquet") as part:
            (part / "id=1").mkdir()
            (part / "id=1" / f"{number}.parquet").touch()
    assert [path.name for path in target.rglob("*.parquet")] == ["2.parquet"]
    assert names(tmp_path) == ["target"]
    target.rename(tmp_path / ".target.aside")  # as after a crash
    with pytest.raises(NodeError, match="stop"), replaced_folder(target, suffix=".parquet"):
        raise NodeError("stop")
    assert [path.name for path in target.rglob("*.parquet")] == ["2.parquet"]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    """A part that is still being written is not taken for a leftover; the last to finish wins."""
    target = tmp_path / "target"
    with replaced_file(target) as slow:
        slow.write_text("slow")
        with replaced_file(target) as quick:
            quick.write_text("quick")
        assert target.read_text() == "quick"
    assert target.read_text() == "slow"
    assert names(tmp_path) == ["target"]


def test_mode_and_links_stay(tmp_path: Path) -> None:
    """A replaced file keeps its permissions, and a symbolic link still leads to it."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    target.chmod(0o640)
    link.symlink_to(target)
    with replaced_file(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o640)


@pytest.mark.parametrize(("node_type", "name"), [(ParquetDestination(), "t.parquet"), (CsvDestination(), "t.csv")])
def test_a_file_that_others_still_read_may_be_replaced(bench: Workbench, node_type: Any, name: str) -> None:
    """Rows that another branch reads later are those that the source has counted, not those of the new file."""
    source = bench.base / "t.parquet"
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT range AS i FROM range(4)) TO '{source}'")
    source.rename(bench.base / name)
    read = bench.run(ParquetSource(), {"path": name}).relation
    assert read is not None
    larger = bench.run(Filter(), {"expression": "i > 1"}, read).relation
    bench.run(node_type, {"path": name}, larger)
    assert bench.rows(read) == [(0,), (1,), (2,), (3,)]
