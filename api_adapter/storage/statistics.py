"""How runs have gone: counts by status and day, and how long they took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from api_adapter.storage.database import Connection
from api_adapter.storage.outline import Outline
from api_adapter.storage.runs import STATUS_OF, Page, RunFilter, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts of runs by status, and by day (UTC, of the start or, while queued, the creation) and status.

    `p50` and `p95` are durations of succeeded runs in seconds; None if there is none.
    """

    by_status: Mapping[RunStatus, int]
    by_day: Sequence[tuple[date, Mapping[RunStatus, int]]]
    p50: float | None
    p95: float | None


_COUNTS = """
WITH chosen AS MATERIALIZED (
    SELECT status, start_time, end_time, coalesce(to_timestamp(start_time), create_timestamp::timestamptz) AS happened
    FROM ({runs}) AS found
)
SELECT (happened AT TIME ZONE 'UTC')::date AS day, status, count(*) AS number, NULL::float AS p50, NULL::float AS p95
FROM chosen GROUP BY 1, 2
UNION ALL
SELECT NULL, NULL, NULL, percentile_cont(0.5) WITHIN GROUP (ORDER BY end_time - start_time),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY end_time - start_time)
FROM chosen WHERE status = 'SUCCESS' AND start_time IS NOT NULL
ORDER BY 1, 2"""


def read_statistics(connection: Connection, *, outline: Outline, filter_by: RunFilter) -> Statistics:
    """Return how the runs that pass the filter have gone."""
    page = Page(connection, view=outline.fresh_view(connection), filter_by=filter_by)
    found = page.fetch(_COUNTS)
    by_status: dict[RunStatus, int] = {}
    by_day: dict[date, dict[RunStatus, int]] = {}
    p50 = p95 = None
    for row in found:
        if row.day is None:
            p50, p95 = row.p50, row.p95
            continue
        status = STATUS_OF[row.status]
        day = by_day.setdefault(row.day, {})
        day[status] = day.get(status, 0) + row.number
        by_status[status] = by_status.get(status, 0) + row.number
    return Statistics(by_status=by_status, by_day=sorted(by_day.items()), p50=p50, p95=p95)
