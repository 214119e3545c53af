"""Upstream triggers over a real record: each end of a run that counts starts one run, whatever order it appears in."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from dagster import (
    DagsterEvent,
    DagsterInstance,
    DagsterRun,
    EventLogEntry,
    RunRequest,
    SensorDefinition,
    SensorResult,
    build_sensor_context,
)

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.upstream import UpstreamCursor
from planasonix_orchestrator.dagster_defs.sensors import upstream
from tests.conftest import database, open_instance
from tests.dagster_defs.pipelines import document, node
from tests.dagster_defs.test_repository import repository_of

NODES = [node("a", "source.numbers")]


@dataclass
class Record:
    """A Dagster record in Postgres: runs that end in it, and what else its users do."""

    instance: DagsterInstance
    url: str

    def end(self, pipeline: str, how: str = "SUCCESS", *, environment: str | None = None) -> str:
        """A run of a pipeline that ends so, by its id."""
        run_id = self.run(pipeline, environment=environment)
        self.instance.store_event(entry(run_id, how))
        return run_id

    def run(self, pipeline: str, *, environment: str | None = None) -> str:
        """A run that goes on."""
        told = {tags.PIPELINE_ID: pipeline, **({tags.ENVIRONMENT_ID: environment} if environment else {})}
        run = DagsterRun(pipeline, run_id=str(uuid4()), tags=told)
        return self.instance.add_run(run).run_id

    @contextmanager
    def ending(self, run_id: str) -> Iterator[None]:
        """A run whose end is written within the block and seen by others behind it."""
        connection = psycopg2.connect(self.url)
        try:
            with connection.cursor() as cursor:
                statement = self.instance.event_log_storage.prepare_insert_event(entry(run_id, "SUCCESS"))  # type: ignore[attr-defined]
                compiled = statement.compile()
                names = {name: compiled.params[name] for name in compiled.params}
                text = str(compiled)
                for name in sorted(names, key=len, reverse=True):
                    text = text.replace(f":{name}", f"%({name})s")
                cursor.execute(text, names)
                yield
            connection.commit()
        finally:
            connection.close()


def entry(run_id: str, how: str) -> EventLogEntry:
    """The event with which a run ends."""
    event = DagsterEvent(event_type_value=f"PIPELINE_{how}", job_name="any")
    return EventLogEntry(
        error_info=None,
        user_message="",
        level=20,
        run_id=run_id,
        timestamp=time.time(),
        job_name="any",
        dagster_event=event,
    )


@pytest.fixture(scope="module")
def record(postgres_server: str, dagster_tables: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """A record that the tests of this module share; each has pipelines of its own."""
    home = tmp_path_factory.mktemp("dagster")
    with database(postgres_server, like=dagster_tables) as url:
        (home / "dagster.yaml").write_text(
            f'storage: {{postgres: {{postgres_url: "{url}"}}}}\ntelemetry: {{enabled: false}}'
        )
        with open_instance(home) as instance:
            yield Record(instance, url)


class Watch:
    """A trigger's sensor, looked through as Dagster's daemon does: it keeps the cursor between looks."""

    def __init__(
        self, record: Record, folder: Path, config: Mapping[str, Any], **more: Mapping[str, Any] | list[str]
    ) -> None:
        named = config.get("pipelineIds") or [config["pipelineId"]]
        for each in named:
            other = {**document(NODES, name=each.removeprefix("pl_")), "id": each}
            (folder / f"{each}.json").write_text(json.dumps(other))
        trigger = {"id": "trg_up", "triggerType": "upstream", "config": config, **more.get("trigger", {})}  # type: ignore[dict-item]
        variables = more.get("variables", {})
        (folder / "child.json").write_text(
            json.dumps(document(NODES, name="child", triggers=[trigger], variables=variables))
        )
        (self.sensor,) = repository_of(folder).sensor_defs
        self._record = record
        self.cursor: str | None = None
        self.switched_on: float | None = time.time()

    def look(self) -> Sequence[RunRequest]:
        """What one tick of the sensor asks for."""
        context = build_sensor_context(
            instance=self._record.instance, cursor=self.cursor, last_sensor_start_time=self.switched_on
        )
        result = evaluate(self.sensor, context)
        self.cursor = result.cursor
        return list(result.run_requests or ())

    def seen(self) -> list[str]:
        """The upstream runs for which one tick asks for runs."""
        return [str(request.run_key) for request in self.look()]


def evaluate(sensor: SensorDefinition, context: Any) -> SensorResult:
    """The result of a sensor's evaluation."""
    result = sensor(context)
    assert isinstance(result, SensorResult)
    return result


def fresh() -> str:
    """The id of a pipeline that no other test speaks of."""
    return f"pl_{uuid4().hex[:10]}"


def test_each_success_starts_one_run(record: Record, tmp_path: Path) -> None:
    """It names the run that has caused it, in its key and in its tags; other ends and pipelines do not count."""
    mine = fresh()
    watch = Watch(record, tmp_path, {"pipelineId": mine})
    assert watch.look() == []
    first, second = record.end(mine), record.end(mine)
    record.end(mine, "FAILURE")
    record.end(fresh())
    requests = watch.look()
    assert [request.run_key for request in requests] == [first, second]
    assert requests[0].job_name == "child"
    assert requests[0].tags == {
        tags.TRIGGER: "sensor",
        tags.TRIGGER_ID: "trg_up",
        tags.UPSTREAM_RUN: first,
        tags.EVENT_SUMMARY: f"{mine} succeeded",
    }
    assert watch.look() == []


@pytest.mark.parametrize(
    ("on", "counted"),
    [("succeeded", ["SUCCESS"]), ("failed", ["FAILURE"]), ("finished", ["SUCCESS", "FAILURE", "CANCELED"])],
)
def test_it_says_which_ends_count(record: Record, tmp_path: Path, on: str, counted: list[str]) -> None:
    """Successes, failures, or all, cancellations too."""
    mine = fresh()
    watch = Watch(record, tmp_path, {"pipelineId": mine, "on": on})
    ended = {how: record.end(mine, how) for how in ("SUCCESS", "FAILURE", "CANCELED")}
    assert watch.seen() == [ended[how] for how in counted]


def test_any_of_several_pipelines(record: Record, tmp_path: Path) -> None:
    """Each end of each of them counts, in the order in which they came."""
    one, other = fresh(), fresh()
    watch = Watch(record, tmp_path, {"pipelineIds": [one, other]})
    assert watch.seen() == []
    expected = [record.end(other), record.end(one), record.end(other)]
    assert watch.seen() == expected


def test_all_of_several_pipelines(record: Record, tmp_path: Path) -> None:
    """A run starts when each has succeeded since the last one; further successes of the same do not count twice."""
    one, other = fresh(), fresh()
    watch = Watch(record, tmp_path, {"pipelineIds": [one, other], "mode": "all"})
    record.end(one)
    record.end(one)
    record.end(other, "FAILURE")
    assert watch.seen() == []
    last = record.end(other)
    assert watch.seen() == [last]
    record.end(other)
    assert watch.seen() == [], "the first has not succeeded again"
    assert watch.seen() == []
    last = record.end(one)
    assert watch.seen() == [last]


def test_a_run_follows_in_the_environment_of_its_upstream_run(record: Record, tmp_path: Path) -> None:
    """What is done in test never starts anything in production; several must have succeeded in the same one."""
    one, other = fresh(), fresh()
    (tmp_path / "environments.yaml").write_text("default: test\nenvironments: {test: {name: T}, prod: {name: P}}")
    watch = Watch(record, tmp_path, {"pipelineIds": [one, other], "mode": "all"})
    record.end(one, environment="test")
    record.end(other, environment="prod")
    assert watch.look() == []
    last = record.end(one, environment="prod")
    (request,) = watch.look()
    assert request.run_key == last
    assert request.tags[tags.ENVIRONMENT_ID] == "prod"
    assert request.run_config["resources"]["pipeline"]["config"] == {"environment": "prod"}


def test_the_variables_of_the_trigger_are_set(record: Record, tmp_path: Path) -> None:
    """For every run that it starts."""
    mine = fresh()
    variables = {"day": {"default": "x"}}
    watch = Watch(record, tmp_path, {"pipelineId": mine}, variables=variables, trigger={"variables": {"day": "y"}})
    record.end(mine)
    (request,) = watch.look()
    assert request.run_config["resources"]["variables"]["config"] == {"day": "y"}


def test_what_ended_while_it_was_off_is_not_made_up(record: Record, tmp_path: Path) -> None:
    """Neither before it was first switched on, nor between; but nothing is lost from the moment on."""
    mine = fresh()
    record.end(mine)
    watch = Watch(record, tmp_path, {"pipelineId": mine})
    behind = record.end(mine)
    assert watch.seen() == [behind], "the daemon looked a while after the switch"
    record.end(mine)
    watch.switched_on = time.time()
    assert watch.seen() == []
    again = record.end(mine)
    assert watch.seen() == [again]


def test_a_trial_does_not_look_at_all_that_ever_was(record: Record, tmp_path: Path) -> None:
    """Dagster's UI tries a sensor that was never switched on, and one whose cursor somebody has set."""
    mine = fresh()
    watch = Watch(record, tmp_path, {"pipelineId": mine})
    watch.switched_on = None
    record.end(mine)
    assert watch.seen() == []
    behind = record.end(mine)
    assert watch.seen() == [behind]


def test_more_ends_than_one_look_takes(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next looks go on behind them, and each end is there once."""
    monkeypatch.setattr(upstream, "MOST_AT_ONCE", 4)
    mine = fresh()
    watch = Watch(record, tmp_path, {"pipelineId": mine})
    ended = [record.end(mine) for _ in range(10)]
    looks = [watch.seen() for _ in range(4)]
    assert [len(look) for look in looks] == [4, 4, 2, 0]
    assert [run_id for look in looks for run_id in look] == ended


def test_an_end_that_becomes_visible_late_is_not_lost(record: Record, tmp_path: Path) -> None:
    """Another one with a higher id is seen before it, in that look and in others."""
    mine = fresh()
    watch = Watch(record, tmp_path, {"pipelineId": mine})
    watch.look()
    late = record.run(mine)
    with record.ending(late):
        early = record.end(mine)
        assert watch.seen() == [early]
        assert watch.seen() == []
        other = record.end(mine)
        assert watch.seen() == [other]
    assert watch.seen() == [late]
    assert watch.seen() == []


def test_the_cursor_goes_on_although_somebody_always_writes(record: Record, tmp_path: Path) -> None:
    """Each look finds a writer, but never the same one twice: what is read again stays little."""
    mine = fresh()
    watch = Watch(record, tmp_path, {"pipelineId": mine})
    floors = []
    for _ in range(4):
        with record.ending(record.run(fresh())):
            record.end(mine)
            assert len(watch.look()) == 1
            assert watch.cursor is not None
            floors.append(UpstreamCursor.from_json(watch.cursor).floor)
    assert floors[1] < floors[2] < floors[3]
    assert watch.look() == []


def test_another_text_is_not_a_cursor(record: Record, tmp_path: Path) -> None:
    """Whoever sets the cursor in the Dagster UI is told so."""
    watch = Watch(record, tmp_path, {"pipelineId": fresh()})
    for text in ("x", "{}", "[]", '{"since": 1}'):
        watch.cursor = text
        with pytest.raises(Exception, match="not the cursor of an upstream trigger"):
            watch.look()
