"""`GET /api/runs`: filters and pages."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from hypothesis import given
from hypothesis import strategies as st

from api_adapter.errors import InvalidRequestError
from api_adapter.pagination import decode_cursor, encode_cursor
from api_adapter.storage import RunFilter
from api_adapter.timestamps import format_timestamp, format_unix
from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api import served
from tests.api.making import execute, make_run


def new_pipeline(instance: DagsterInstance, *statuses: DagsterRunStatus) -> tuple[str, list[str]]:
    """A pipeline of the test's own with a run in each of these states; its id, and the run ids, newest first."""
    pipeline_id = f"pl_{uuid4().hex}"
    runs = [make_run(instance, status=status, tags={"planasonix/pipeline_id": pipeline_id}) for status in statuses]
    return pipeline_id, [encode_run_id(run.run_id) for run in reversed(runs)]


def walk(reader: httpx.Client, **query: str | int) -> list[str]:
    """All run ids of a list, page by page."""
    ids: list[str] = []
    cursor = None
    while True:
        page = reader.get("/api/runs", params={**query, **({"cursor": cursor} if cursor else {})}).json()
        ids += [run["id"] for run in page["data"]]
        cursor = page["meta"]["cursor"]
        if cursor is None:
            return ids


def test_list_has_the_shape_of_the_seed(reader: httpx.Client, instance: DagsterInstance) -> None:
    """A listed run has exactly the seven documented fields, its trigger as a word."""
    run_id = execute(served.crm_to_warehouse, instance=instance, tags={"planasonix/trigger": "schedule"})
    answer = reader.get("/api/runs", params={"pipelineId": "pl_crm", "limit": 1}).json()
    (run,) = answer["data"]
    assert set(answer) == {"data", "meta"}
    assert set(answer["meta"]) == {"cursor"}
    assert list(run) == ["id", "pipelineId", "status", "trigger", "startedAt", "finishedAt", "durationSeconds"]
    assert (run["id"], run["pipelineId"]) == (encode_run_id(run_id), "pl_crm")
    assert (run["status"], run["trigger"]) == ("succeeded", "schedule")
    assert run["startedAt"].endswith("Z")
    assert run["durationSeconds"] > 0


def test_pipeline_id_lists_only_runs_of_this_pipeline(reader: httpx.Client, instance: DagsterInstance) -> None:
    """Runs of other pipelines do not appear, not even those of the same job name."""
    mine, ids = new_pipeline(instance, DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE)
    new_pipeline(instance, DagsterRunStatus.SUCCESS)
    assert walk(reader, pipelineId=mine) == ids
    assert [run["id"] for run in reader.get(f"/api/pipelines/{mine}/runs").json()["data"]] == ids
    assert walk(reader, pipelineId="pl_unknown") == []


def test_runs_of_a_renamed_pipeline_stay_its_own(reader: httpx.Client, instance: DagsterInstance) -> None:
    """A pipeline's runs are found under every job name that it has had, the newest too."""
    pipeline_id, before = new_pipeline(instance, DagsterRunStatus.SUCCESS)
    assert walk(reader, pipelineId=pipeline_id) == before
    tags = {"planasonix/pipeline_id": pipeline_id}
    after = instance.create_run_for_job(served.nightly, status=DagsterRunStatus.SUCCESS, tags=tags)
    assert walk(reader, pipelineId=pipeline_id) == [encode_run_id(after.run_id), *before]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("queued", [DagsterRunStatus.STARTING, DagsterRunStatus.NOT_STARTED]),
        ("running", [DagsterRunStatus.CANCELING, DagsterRunStatus.STARTED]),
        ("succeeded", [DagsterRunStatus.SUCCESS]),
        ("failed", [DagsterRunStatus.FAILURE]),
        ("canceled", [DagsterRunStatus.CANCELED]),
        ("succeeded,failed", [DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS]),
    ],
)
def test_status_lists_only_runs_in_these_states(
    query: str, expected: list[DagsterRunStatus], reader: httpx.Client, instance: DagsterInstance
) -> None:
    """Each status of the reference finds its runs; several may be given with commas."""
    made = [
        DagsterRunStatus.NOT_STARTED,
        DagsterRunStatus.STARTED,
        DagsterRunStatus.STARTING,
        DagsterRunStatus.SUCCESS,
        DagsterRunStatus.CANCELING,
        DagsterRunStatus.FAILURE,
        DagsterRunStatus.CANCELED,
    ]
    pipeline_id, ids = new_pipeline(instance, *made)
    by_status = dict(zip(reversed(made), ids, strict=True))
    assert walk(reader, pipelineId=pipeline_id, status=query) == [by_status[status] for status in expected]


def test_status_may_be_repeated(reader: httpx.Client, instance: DagsterInstance) -> None:
    """`status=failed&status=canceled` is the same as `status=failed,canceled`."""
    pipeline_id, ids = new_pipeline(
        instance, DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS, DagsterRunStatus.CANCELED
    )
    query = {"pipelineId": pipeline_id, "status": ["failed", "canceled"]}
    data = reader.get("/api/runs", params=query).json()["data"]
    assert [run["id"] for run in data] == [ids[0], ids[2]]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_show_each_run_once_newest_first(limit: int, reader: httpx.Client, instance: DagsterInstance) -> None:
    """Whatever the page size, walking the pages shows every run once, and the last page has a null cursor."""
    pipeline_id, ids = new_pipeline(instance, *[DagsterRunStatus.SUCCESS] * 7)
    assert walk(reader, pipelineId=pipeline_id, limit=limit) == ids


def test_deleting_the_run_under_the_cursor_loses_nothing(reader: httpx.Client, instance: DagsterInstance) -> None:
    """The next page goes on where the last one ended, though the run it ended with is gone."""
    pipeline_id, ids = new_pipeline(instance, *[DagsterRunStatus.SUCCESS] * 4)
    page = reader.get("/api/runs", params={"pipelineId": pipeline_id, "limit": 2}).json()
    instance.delete_run(next(run.run_id for run in instance.get_runs() if encode_run_id(run.run_id) == ids[1]))
    query = {"pipelineId": pipeline_id, "limit": 2, "cursor": page["meta"]["cursor"]}
    assert [run["id"] for run in reader.get("/api/runs", params=query).json()["data"]] == ids[2:]


def test_new_runs_do_not_disturb_a_walk(reader: httpx.Client, instance: DagsterInstance) -> None:
    """A run that is created between two pages neither repeats nor pushes out another."""
    pipeline_id, ids = new_pipeline(instance, *[DagsterRunStatus.SUCCESS] * 3)
    query = {"pipelineId": pipeline_id, "limit": "2"}
    page = reader.get("/api/runs", params=query).json()
    make_run(instance, status=DagsterRunStatus.SUCCESS, tags={"planasonix/pipeline_id": pipeline_id})
    rest = reader.get("/api/runs", params={**query, "cursor": page["meta"]["cursor"]}).json()
    assert [run["id"] for run in (*page["data"], *rest["data"])] == ids


def test_date_range_compares_the_start(reader: httpx.Client, instance: DagsterInstance) -> None:
    """A bare end date includes its whole day, open ends work, and from/to mean the same."""
    execute(served.failing, instance=instance)
    today = datetime.now(UTC).date()
    yesterday, tomorrow = today - timedelta(days=1), today + timedelta(days=1)

    def found(**query: str) -> bool:
        return bool(reader.get("/api/runs", params={"pipelineId": "pl_bad", **query}).json()["data"])

    assert found(dateRange=f"{yesterday}..{tomorrow}")
    assert found(dateRange=f"{yesterday}..")
    assert found(dateRange=f"..{tomorrow}")
    assert found(**{"from": f"{yesterday}T00:00:00+02:00"})
    assert found(**{"from": str(yesterday), "to": str(tomorrow)})
    assert not found(dateRange=f"{tomorrow}..")
    assert not found(dateRange=f"..{yesterday - timedelta(days=1)}")


def test_a_run_that_has_not_started_is_dated_by_its_creation(reader: httpx.Client, instance: DagsterInstance) -> None:
    """While a run is queued it has no start, and its creation is compared."""
    pipeline_id, ids = new_pipeline(instance, DagsterRunStatus.NOT_STARTED)
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert walk(reader, pipelineId=pipeline_id, dateRange=f"{hour_ago}..") == ids
    assert walk(reader, pipelineId=pipeline_id, dateRange=f"..{hour_ago}") == []


@pytest.mark.parametrize(
    ("range_", "found"),
    [
        ("0001-01-01..9999-12-31", True),
        ("0001-01-01T00:00:00+14:00..9999-12-31T23:59:59-12:00", True),
        ("9999-12-31..", False),
        ("..0001-01-01", False),
        ("{today}..{today}", True),
        ("{today:%Y%m%d}..{today:%Y%m%d}", True),
        ("{today}T00:00:00-00:00..{today}T23:59:59.999999+00:00", True),
        ("2024-02-29..2024-02-29", False),
    ],
)
def test_a_date_range_may_reach_from_the_first_day_to_the_last(
    range_: str, found: bool, reader: httpx.Client, instance: DagsterInstance
) -> None:
    """Every date that there is can begin or end a range, and an end in any form of a date includes its day."""
    pipeline_id, ids = new_pipeline(instance, DagsterRunStatus.NOT_STARTED)
    query = {"pipelineId": pipeline_id, "dateRange": range_.format(today=datetime.now(UTC).date())}
    assert walk(reader, **query) == (ids if found else [])
    assert reader.get("/api/runs/stats", params=query).json()["total"] == len(ids) * found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("status=", "status"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("dateRange=2025-03-01", "dateRange"),
        ("dateRange=..", "dateRange"),
        ("dateRange=2025-13-01..", "dateRange"),
        ("dateRange=2025-03-02..2025-03-01", "dateRange"),
        ("dateRange=2025-03-02..&from=2025-01-01", "dateRange"),
        ("from=yesterday", "from"),
        ("from=2025-02-29", "from"),
        ("to=2025-W48", "to"),
        ("pipelineId=%00", "pipelineId"),
        ("cursor=eyJpZCI6InJ1bl8wMWo3ajFrMiJ9", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=%F0%9F%92%A9", "cursor"),
    ],
)
def test_what_can_not_be_understood_is_refused_by_name(query: str, field: str, reader: httpx.Client) -> None:
    """A wrong parameter gives 400 and names the field; it never quietly finds nothing."""
    answer = reader.get(f"/api/runs?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == [field]


def test_a_cursor_belongs_to_its_filters(reader: httpx.Client, instance: DagsterInstance) -> None:
    """A cursor of another list is refused."""
    pipeline_id, _ = new_pipeline(instance, *[DagsterRunStatus.SUCCESS] * 2)
    page = reader.get("/api/runs", params={"pipelineId": pipeline_id, "limit": 1}).json()
    assert reader.get("/api/runs", params={"cursor": page["meta"]["cursor"]}).status_code == 400


@pytest.mark.parametrize("field", ["visible", "statuses", "triggers"])
def test_a_cursor_is_the_same_in_every_process(field: str) -> None:
    """The filters of a cursor have no order, whichever Python gives its sets in one process or another."""
    words = [f"word_{number}" for number in range(40)]
    several = [RunFilter(**{field: frozenset(order)}) for order in (words, words[::-1])]  # type: ignore[arg-type]
    assert len({repr(filter_by.scope) for filter_by in several}) == 1
    assert "frozenset" not in repr(several[0].scope)


@given(position=st.integers(1, 2**63 - 1), scope=st.text())
def test_a_cursor_gives_its_position_back(position: int, scope: str) -> None:
    """Encoding and decoding a cursor is lossless for every position."""
    assert decode_cursor(encode_cursor(position, scope=scope), scope=scope) == position


@given(data=st.data(), position=st.integers(1, 2**63 - 1))
def test_a_cursor_with_one_character_changed_is_refused(data: st.DataObject, position: int) -> None:
    """No change of a single character goes unnoticed."""
    cursor = encode_cursor(position, scope="x")
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters().filter(lambda character: character != cursor[place]))
    with pytest.raises(InvalidRequestError):
        decode_cursor(cursor[:place] + other + cursor[place + 1 :], scope="x")


@given(seconds=st.floats(0, 4_000_000_000), milliseconds=st.integers(0, 999))
def test_unix_seconds_are_written_as_moments_are(seconds: float, milliseconds: int) -> None:
    """Both ways to write a moment agree to the microsecond, whole seconds and milliseconds included."""
    for moment in (seconds, float(int(seconds)), int(seconds) + milliseconds / 1000):
        told = datetime.fromisoformat(format_unix(moment))
        assert abs(told - datetime.fromisoformat(format_timestamp(datetime.fromtimestamp(moment, UTC)))) <= timedelta(
            milliseconds=1
        )
    assert format_unix(1743040800.25) == format_timestamp(datetime.fromtimestamp(1743040800.25, UTC))
    assert format_unix(1743040800) == "2025-03-27T02:00:00Z"
