"""The list of cases; one file for each kind."""

from benchmarks.cases.folder_polls import FOLDER_POLL
from benchmarks.cases.fused_pipeline import FUSED_PIPELINE
from benchmarks.cases.log_streams import LOG_STREAMS
from benchmarks.cases.requests_per_second import REQUESTS_PER_SECOND
from benchmarks.cases.run_cancels import RUN_CANCELS
from benchmarks.cases.run_cost import RUN_COST
from benchmarks.cases.run_details import RUN_DETAILS
from benchmarks.cases.run_logs import RUN_LOGS
from benchmarks.cases.run_pages import RUN_PAGES
from benchmarks.cases.run_starts import RUN_STARTS
from benchmarks.cases.trigger_latency import TRIGGER_LATENCY
from benchmarks.frame import Cases

CASES = Cases(
    (
        *(FUSED_PIPELINE, *RUN_PAGES, *RUN_DETAILS, *RUN_LOGS, REQUESTS_PER_SECOND, *LOG_STREAMS),
        FOLDER_POLL,
        *(*RUN_STARTS, *RUN_CANCELS, *RUN_COST, *TRIGGER_LATENCY),
    )
)
