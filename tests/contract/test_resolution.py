"""What a run gets, where several have a say."""

from typing import Any

import pytest

from planasonix_orchestrator.contract.pipelines import PublishedEnvironment, PublishedEnvironments, PublishedExecutor
from planasonix_orchestrator.contract.resolution import (
    EnvironmentUnavailableError,
    choose_environment,
    environment_named,
    resolve_executor,
    resolve_variables,
)


def resolved(variable: dict[str, Any], *, run: Any = None, environment: Any = None, global_: Any = None) -> Any:
    """What the variable `v` resolves to: its value and who gave it, or its faults."""
    said = ({} if value is None else {"v": value} for value in (run, environment, global_))
    given, of_environment, of_all = said
    result = resolve_variables({"v": variable}, given=given, environment=of_environment, global_=of_all)
    if result.faults:
        return [(fault.source, fault.message) for fault in result.faults]
    return result.values["v"], result.sources["v"]


def environment(id_: str) -> PublishedEnvironment:
    return {
        "id": id_,
        "name": id_,
        "variables": {},
        "connections": {},
        "maxConcurrentRuns": None,
        "executor": None,
    }


def published(*ids: str, default: str | None = None, readable: bool = True) -> PublishedEnvironments:
    environments = [environment(id_) for id_ in ids]
    return {
        "variables": {},
        "default": default,
        "environments": environments,
        "faulty": ["broken"],
        "readable": readable,
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"run": "r", "environment": "e", "global_": "g"}, ("r", "run")),
        ({"environment": "e", "global_": "g"}, ("e", "environment")),
        ({"global_": "g"}, ("d", "pipeline")),
        ({}, ("d", "pipeline")),
    ],
)
def test_the_most_specific_value_wins(said: dict[str, Any], expected: object) -> None:
    """Run, environment, the pipeline's default, global: in this order."""
    assert resolved({"type": "string", "default": "d"}, **said) == expected


def test_a_global_value_serves_where_there_is_no_default() -> None:
    """Neither has the run to set it then; a default that is null says nothing."""
    assert resolved({"type": "string"}, global_="g") == ("g", "global")
    assert resolved({"type": "string", "default": None}, global_="g") == ("g", "global")
    assert resolved({"type": "string", "default": None}) == (None, None)


def test_what_is_required_must_be_set() -> None:
    """A variable without a default, or one that says so even though it has one, needs a value of somebody else's."""
    missing = [(None, "must be set (integer)")]
    assert resolved({"type": "integer"}) == missing
    assert resolved({"type": "integer", "default": 1, "required": True}) == missing
    for who in ("run", "environment", "global_"):
        assert resolved({"type": "integer", "default": 1, "required": True}, **{who: 2})[0] == 2


def test_a_value_has_its_variables_type() -> None:
    """It comes in the type's own form; a wrong one is a fault that names who gave it, and no other value steps in."""
    assert resolved({"type": "integer"}, run="12") == (12, "run")
    assert resolved({"type": "integer", "default": 1}, run="x") == [("run", '"x" is not a whole number')]
    assert resolved({"type": "date"}, environment="soon") == [
        ("environment", 'the environment\'s value "soon" is not a date such as 2013-01-31')
    ]
    assert resolved({"type": "boolean"}, global_=1) == [("global", "the global value 1 is not true or false")]


def test_only_a_run_may_not_name_what_is_not_declared() -> None:
    """Environments and globals serve many pipelines; a run's own variables are for one."""
    result = resolve_variables({"a": {"default": "x"}}, given={"b": 1}, environment={"c": 1}, global_={"d": 1})
    assert [(fault.name, fault.message) for fault in result.faults] == [
        ("b", "the pipeline declares no such variable; it declares: a")
    ]


def test_a_run_gets_the_environment_that_it_names() -> None:
    """Else the default one, else none."""
    environments = published("a", "b", default="a")
    assert choose_environment(environments, named="b") == environment("b")
    assert choose_environment(environments, named=None) == environment("a")
    assert choose_environment(published("a"), named=None) is None


@pytest.mark.parametrize(
    ("environments", "named", "message"),
    [
        (published("a", "b"), "c", "environment 'c' does not exist (known: a, b)"),
        (published("a"), "broken", "environment 'broken' has problems in environments.yaml"),
        (published("a", default="broken"), None, "environment 'broken' has problems in environments.yaml"),
        (published(default="gone"), None, "environment 'gone' does not exist (known: none)"),
        (published(readable=False), None, "the environments can't be read: environments.yaml has problems"),
    ],
)
def test_an_environment_that_is_not_there_is_never_passed_over(
    environments: PublishedEnvironments, named: str | None, message: str
) -> None:
    """Otherwise a run would write with connections that it was not meant to have."""
    with pytest.raises(EnvironmentUnavailableError) as caught:
        choose_environment(environments, named=named)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"resources": {"pipeline": {"config": {"environment": "prod"}}}}, "prod"),
        ({"resources": {"pipeline": {"config": {"environment": None}}}}, None),
        ({"resources": {"pipeline": {}}}, None),
        ({"resources": None}, None),
        ({}, None),
    ],
)
def test_the_environment_stands_in_the_run_config(config: dict[str, Any], named: str | None) -> None:
    """Whatever else is in it."""
    assert environment_named(config) == named


def test_the_most_specific_word_on_the_executor_wins() -> None:
    """The run's, the environment's, the pipeline's, key by key; threads if nobody says anything."""

    def said(type_: Any, limit: int | None) -> PublishedExecutor:
        return {"type": type_, "maxParallelNodes": limit}

    def chosen(**words: PublishedExecutor) -> tuple[str, int | None]:
        executor = resolve_executor(**words)
        return executor.type, executor.max_parallel_nodes

    assert chosen() == ("threads", None)
    assert chosen(pipeline=said("multiprocess", 2), environment=said(None, 8)) == ("multiprocess", 8)
    assert chosen(pipeline=said("multiprocess", 2), environment=said("in_process", None)) == ("in_process", 2)
    assert chosen(pipeline=said("multiprocess", 2), run=said("threads", None)) == ("threads", 2)
