"""Chains of pipelines: what one says of others is checked over the whole folder."""

from pathlib import Path
from typing import Any

import pytest

from planasonix_orchestrator.compiler.compile import compile_folder
from planasonix_orchestrator.graph.loading import load_files, load_folder
from planasonix_orchestrator.nodes.catalog import load_catalog
from tests.compiler.folders import NUMBERS, compile_texts, document
from tests.compiler.nodes import CATALOG


def after(*upstream: str, **config: Any) -> dict[str, Any]:
    """A trigger on other pipelines."""
    named = {"pipelineId": upstream[0]} if len(upstream) == 1 else {"pipelineIds": list(upstream)}
    return {"triggerType": "upstream", "config": {**named, **config}}


def chained(name: str, *triggers: dict[str, Any]) -> str:
    """A pipeline `pl_<name>` that is started so."""
    own = [{**trigger, "id": f"trg_{name}_{index}"} for index, trigger in enumerate(triggers)]
    return document({"n": NUMBERS}, id=f"pl_{name}", name=name, triggers=own)


def test_a_chain_of_pipelines_compiles(tmp_path: Path) -> None:
    """A pipeline may follow several, which may follow one: that is no cycle."""
    texts = {
        "a": chained("a"),
        "b": chained("b", after("pl_a")),
        "c": chained("c", after("pl_a", on="failed")),
        "d": chained("d", after("pl_b", "pl_c", mode="all", on="finished")),
    }
    compiled = compile_texts(tmp_path, **texts)
    assert compiled.problems == ()
    assert len(compiled.plans) == 4


def test_a_pipeline_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """It is told where it is named, with the nearest known one; the others load."""
    compiled = compile_texts(tmp_path, first=chained("first"), b=chained("b", after("pl_first", "pl_frist")))
    (problem,) = compiled.problems
    assert (problem.code, problem.path) == ("unknown_pipeline", "$.triggers[0].config.pipelineIds[1]")
    assert problem.message == "unknown pipeline 'pl_frist'"
    assert problem.hint == "did you mean 'pl_first'?"
    assert [plan.pipeline_id for plan in compiled.plans] == ["pl_first"]


def test_a_faulty_upstream_does_not_harm_who_follows_it(tmp_path: Path) -> None:
    """It is there, though it does not load; where even its id can't be read, nobody says that it is unknown."""
    follower = chained("b", after("pl_a"))
    faulty = compile_texts(tmp_path, a=document({"n": {"type": "no.such"}}, id="pl_a", name="a"), b=follower)
    assert [plan.pipeline_id for plan in faulty.plans] == ["pl_b"]
    unreadable = compile_texts(tmp_path, a="{", b=follower)
    assert [plan.pipeline_id for plan in unreadable.plans] == ["pl_b"]
    assert "unknown_pipeline" not in {problem.code for problem in (*faulty.problems, *unreadable.problems)}


def test_single_files_may_name_pipelines_of_others(tmp_path: Path) -> None:
    """Who checks some files only does not know what else there is."""
    file = tmp_path / "b.yaml"
    file.write_text(chained("b", after("pl_a")))
    assert compile_folder(load_files([file], beside=tmp_path), catalog=CATALOG).problems == ()


def test_a_cycle_is_refused_at_each_trigger_of_it(tmp_path: Path) -> None:
    """It is printed, and pipelines that only hang on it are not blamed."""
    texts = {
        "a": chained("a", after("pl_c")),
        "b": chained("b", after("pl_out"), after("pl_a")),
        "c": chained("c", after("pl_b")),
        "out": chained("out"),
        "behind": chained("behind", after("pl_c")),
    }
    compiled = compile_texts(tmp_path, **texts)
    told = [(Path(each.file or "").stem, each.code, each.message, each.path) for each in compiled.problems]
    message = "cycle of pipelines: pl_a -> pl_b -> pl_c -> pl_a"
    assert told == [
        ("a", "pipeline_cycle", message, "$.triggers[0].config.pipelineId"),
        ("b", "pipeline_cycle", message, "$.triggers[1].config.pipelineId"),
        ("c", "pipeline_cycle", message, "$.triggers[0].config.pipelineId"),
    ]
    assert [plan.pipeline_id for plan in compiled.plans] == ["pl_behind", "pl_out"]


def test_what_nodes_start_counts_like_triggers(tmp_path: Path) -> None:
    """Cycles of both are refused at each trigger and node of them, and so is a node that starts its own pipeline."""
    texts = {
        "a": starting("a", "pl_b", trigger=after("pl_c")),
        "b": starting("b", "pl_c"),
        "c": starting("c", "pl_gone"),
        "own": starting("own", "pl_own"),
        "variable": starting("variable", "{{ which }}", variables={"which": {}}),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    compiled = compile_folder(load_folder(tmp_path), catalog=load_catalog())
    told = {(Path(each.file or "").stem, each.code, each.path) for each in compiled.problems}
    place = "$.nodes[1].config.pipelineId"
    assert told == {
        ("a", "pipeline_cycle", place),
        ("a", "pipeline_cycle", "$.triggers[0].config.pipelineId"),
        ("b", "pipeline_cycle", place),
        ("c", "unknown_pipeline", place),
        ("own", "pipeline_cycle", place),
        ("variable", "invalid_value", place),
    }
    assert compiled.plans == ()


def starting(name: str, other: str, *, trigger: dict[str, Any] | None = None, **more: Any) -> str:
    """A pipeline with a node that starts another one."""
    nodes = {
        "n": {"type": "source.csv", "config": {"path": "a.csv"}},
        "s": {"type": "trigger_pipeline", "config": {"pipelineId": other}},
    }
    triggers = [{**trigger, "id": f"trg_{name}"}] if trigger else []
    return document(nodes, "n>s", id=f"pl_{name}", name=name, triggers=triggers, **more)


@pytest.mark.parametrize("named", [("pl_a",), ("pl_b", "pl_a")])
def test_a_pipeline_that_follows_itself_is_told_once(tmp_path: Path, named: tuple[str, ...]) -> None:
    """As its own problem."""
    compiled = compile_texts(tmp_path, a=chained("a", after(*named)), b=chained("b"))
    assert [problem.code for problem in compiled.problems] == ["self_trigger"]


@pytest.mark.parametrize("config", [{}, {"pipelineId": "pl_b", "pipelineIds": ["pl_b"]}])
def test_a_trigger_names_its_pipelines_in_one_way(tmp_path: Path, config: dict[str, Any]) -> None:
    """Neither in two nor in none."""
    trigger = {"triggerType": "upstream", "config": config}
    (problem,) = compile_texts(tmp_path, a=chained("a", trigger), b=chained("b")).problems
    assert (problem.code, problem.path) == ("invalid_value", "$.triggers[0].config")
    assert "'pipelineId' and 'pipelineIds'" in problem.message


def test_the_connection_of_a_sql_trigger_must_be_there(tmp_path: Path) -> None:
    """With the nearest known one."""
    trigger = {"triggerType": "sql", "config": {"connectionId": "conn_pq", "query": "SELECT 1"}}
    (problem,) = compile_texts(tmp_path, a=chained("a", trigger)).problems
    assert (problem.code, problem.path) == ("unknown_connection", "$.triggers[0].config.connectionId")
    assert problem.hint == "did you mean 'conn_pg'?"


def test_the_variables_of_a_sql_trigger_must_be_there(tmp_path: Path) -> None:
    """A trigger may fill only what the pipeline declares, and pass on only what it has."""
    config = {"connectionId": "conn_pg", "query": "SELECT 1"}
    for more, told in (
        ({"rowsVariable": "rows"}, ("unknown_variable", "$.triggers[0].config.rowsVariable")),
        ({"watermarkVariable": "mark"}, ("invalid_value", "$.triggers[0].config")),
    ):
        trigger = {"triggerType": "sql", "config": {**config, **more}}
        (problem,) = compile_texts(tmp_path, a=chained("a", trigger)).problems
        assert (problem.code, problem.path) == told


def test_what_a_trigger_does_not_say_leaves_the_version_as_it_was(tmp_path: Path) -> None:
    """The keys for several pipelines came later than versions, which name runs and stay."""

    def version(**config: Any) -> str:
        trigger = {**after("pl_other", **config), "id": "trg_a"}
        texts = {"o": document({"a": NUMBERS}, id="pl_other", name="other")}
        compiled = compile_texts(tmp_path, **texts, test=document({"a": NUMBERS}, triggers=[trigger]))
        return next(plan.version for plan in compiled.plans if plan.pipeline_id == "pl_test")

    assert version() == "b4d43a4ee682fd1c"
    assert version(mode="any", on="succeeded") == version()
    assert len({version(), version(mode="all"), version(on="failed")}) == 3
