"""A folder of files becomes pipelines, connections and problems; one bad file harms no other."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from planasonix_orchestrator.graph.loading import LoadedFolder, load_files, load_folder


def write_pipeline(folder: Path, file: str, **changes: object) -> Path:
    stem = Path(file).stem
    document = {"id": f"pl_{stem}", "name": stem, "nodes": [{"id": "a", "type": "t"}], **changes}
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def names(folder: LoadedFolder) -> list[str]:
    return [pipeline.document.name for pipeline in folder.pipelines]


def codes(folder: LoadedFolder) -> list[tuple[str, str]]:
    return [(problem.code, Path(problem.file or "").name) for problem in folder.problems]


def test_all_pipeline_files_under_a_folder_are_loaded(tmp_path: Path) -> None:
    """YAML and JSON, in sub-folders too, sorted by path; hidden files and other files are left alone."""
    for file in ("b.yaml", "a.json", "deep/er/c.yml", ".hidden.yaml", ".git/d.yaml", "notes.txt", "connections.yaml"):
        write_pipeline(tmp_path, file)
    (tmp_path / "connections.yaml").write_text("connections: {}")
    folder = load_folder(tmp_path)
    assert names(folder) == ["a", "b", "c"]
    assert folder.problems == ()


def test_a_broken_file_harms_no_other(tmp_path: Path) -> None:
    """Each kind of broken file is a problem of its own, and the sound pipeline is there."""
    write_pipeline(tmp_path, "sound.json")
    (tmp_path / "syntax.yaml").write_text("a: [")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.yaml").mkdir()
    folder = load_folder(tmp_path)
    assert names(folder) == ["sound"]
    assert codes(folder) == [
        ("not_utf8", "bytes.yaml"),
        ("empty_document", "empty.yaml"),
        ("unreadable_file", "gone.yaml"),
        ("invalid_yaml", "syntax.yaml"),
    ]


def test_a_folder_that_does_not_exist_is_a_problem(tmp_path: Path) -> None:
    """It is told, not raised, and says how to name another."""
    folder = load_folder(tmp_path / "none")
    assert codes(folder) == [("no_such_folder", "none")]
    assert "--pipelines" in str(folder.problems[0])


def test_pipelines_that_share_an_id_or_a_name_are_left_out(tmp_path: Path) -> None:
    """Both files are told, each with the name of the other; the third pipeline is there."""
    write_pipeline(tmp_path, "a.json", name="same")
    write_pipeline(tmp_path, "b.json", name="same", id="pl_c")
    write_pipeline(tmp_path, "c.json")
    write_pipeline(tmp_path, "d.json")
    folder = load_folder(tmp_path)
    assert names(folder) == ["d"]
    assert codes(folder) == [
        ("duplicate_pipeline_id", "b.json"),
        ("duplicate_pipeline_id", "c.json"),
        ("duplicate_pipeline_name", "a.json"),
        ("duplicate_pipeline_name", "b.json"),
    ]
    assert str(tmp_path / "c.json") in folder.problems[0].message
    assert folder.problems[0].path == "$.id"


def test_a_faulty_document_still_counts_for_ids_and_further_checks(tmp_path: Path) -> None:
    """What could be read of it is in `faulty`, so that no problem waits for another to be mended."""
    write_pipeline(tmp_path, "a.json", colour="red")
    write_pipeline(tmp_path, "b.json", id="pl_a")
    write_pipeline(tmp_path, "c.json", nodes=[{"id": "a"}])
    write_pipeline(tmp_path, "d.json", id="d")
    write_pipeline(tmp_path, "e.json", id="e")
    folder = load_folder(tmp_path)
    assert codes(folder) == [
        ("unknown_field", "a.json"),
        ("missing_field", "c.json"),
        ("invalid_value", "d.json"),
        ("invalid_value", "e.json"),
        ("duplicate_pipeline_id", "a.json"),
        ("duplicate_pipeline_id", "b.json"),
    ]
    assert [pipeline.document.name for pipeline in folder.faulty] == ["a", "b", "d", "e"]
    assert folder.pipelines == ()


def test_schedules_and_triggers_have_ids_of_their_own(tmp_path: Path) -> None:
    """The API knows them by nothing else: two pipelines that share one are left out, and told so at the id."""
    for name in ("a", "b"):
        pipeline = {
            "id": f"pl_{name}",
            "name": name,
            "nodes": [{"id": "n", "type": "source.csv", "config": {"path": "x.csv"}}],
            "schedules": [{"id": "sch_same", "cronExpression": "0 2 * * *"}],
            "triggers": [{"id": "trg_same", "triggerType": "webhook", "config": {"secret": {"env": "S"}}}],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(pipeline))
    loaded = load_folder(tmp_path)
    assert loaded.pipelines == ()
    assert [(problem.code, Path(problem.file or "").name, problem.path) for problem in loaded.problems] == [
        ("duplicate_schedule_id", "a.json", "$.schedules[0].id"),
        ("duplicate_schedule_id", "b.json", "$.schedules[0].id"),
        ("duplicate_trigger_id", "a.json", "$.triggers[0].id"),
        ("duplicate_trigger_id", "b.json", "$.triggers[0].id"),
    ]


def test_a_pipeline_was_updated_when_its_file_was(tmp_path: Path) -> None:
    """The time is that of the file, in UTC."""
    file = write_pipeline(tmp_path, "a.json")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    (pipeline,) = load_files([file], beside=None).pipelines
    assert pipeline.updated_at == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


def test_a_pipeline_tells_problems_at_their_place(tmp_path: Path) -> None:
    """Other rooms name a path; file, line and column are filled in."""
    file = tmp_path / "a.yaml"
    file.write_text("id: pl_a\nname: a\nnodes:\n  - id: a\n    type: t\n    config:\n      table: x\n")
    (pipeline,) = load_files([file], beside=None).pipelines
    path = ("nodes", 0, "config", "table")
    problem = pipeline.problem(code="c", message="m", path=path, hint="h")
    assert str(problem) == f"{file}:7:7: $.nodes[0].config.table: m [c] (h)"


def test_connections_are_told_by_place_and_never_show_a_secret(tmp_path: Path) -> None:
    """A faulty connection is left out, the others are there; a secret that stands in the file is not repeated."""
    (tmp_path / "connections.yaml").write_text(
        "connections:\n"
        "  conn_a: {type: postgres, host: h, password: hunter2}\n"
        "  conn_b: {type: postgres, hots: h, url: {env: URL}}\n"
        "  conn_c: {type: postgrs}\n"
        "  conn_d: {type: duckdb, path: d.duckdb}\n"
        "  conn_e: {type: postgres, host: {env: HOST}, database: d, user: u, password: {env: PASSWORD}}\n"
        "  conn_f: {type: postgres, host: h, url: {env: URL}}\n"
        "  conn_g: {type: postgres}\n"
    )
    folder = load_folder(tmp_path)
    assert list(folder.connections.connections) == ["conn_d", "conn_e"]
    assert [(problem.line, problem.path, problem.message) for problem in folder.problems] == [
        (2, "$.connections.conn_a.password", "'password' must be a secret by name: {env: NAME}"),
        (3, "$.connections.conn_b.hots", "unknown key 'hots'"),
        (4, "$.connections.conn_c.type", "'type' must be one of 'postgres', 'duckdb', not \"postgrs\""),
        (7, "$.connections.conn_f", "'conn_f': give either 'url' or its parts, not 'url' and 'host'"),
        (8, "$.connections.conn_g", "'conn_g': give a 'url' from the environment, or a 'host'"),
    ]
    assert not any("hunter2" in str(problem) for problem in folder.problems)


def test_without_connections_there_are_none(tmp_path: Path) -> None:
    """A folder needs no connections.yaml, and it may be empty."""
    write_pipeline(tmp_path, "a.json")
    assert load_folder(tmp_path).connections.connections == {}
    for text in ("", "# none yet\n", "connections:\n", "{}"):
        (tmp_path / "connections.yaml").write_text(text)
        assert (load_folder(tmp_path).connections.connections, load_folder(tmp_path).problems) == ({}, ())


def test_large_graphs_load(tmp_path: Path) -> None:
    """A chain of 2,000 nodes is one more pipeline."""
    nodes = [{"id": f"n{i}", "type": "t"} for i in range(2_000)]
    edges = [{"source": f"n{i}", "target": f"n{i + 1}"} for i in range(1_999)]
    write_pipeline(tmp_path, "a.json", nodes=nodes, edges=edges)
    assert names(load_folder(tmp_path)) == ["a"]


def test_what_exporters_write_for_nothing_is_nothing(tmp_path: Path) -> None:
    """Null where there is no value, and an empty list for an empty mapping, are as if the key were not there."""
    node: dict[str, object] = {"id": "n", "type": "source.csv", "config": [], "retries": None}
    document = {"id": "pl_a", "name": "a", "status": None, "variables": [], "tags": [], "nodes": [node], "edges": None}
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    loaded = load_folder(tmp_path)
    assert loaded.problems == ()
    assert (loaded.pipelines[0].document.status, loaded.pipelines[0].document.nodes[0].retries) == ("active", 0)
