"""`planasonix runs` and `planasonix show`: what there is, as tables, as lines and as JSON."""

import json
import re

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api.making import make_run
from tests.commands.conftest import planasonix, start, work
from tests.commands.terminal import Terminal


def ids(*arguments: str) -> list[str]:
    return [line.split("\t")[0] for line in planasonix("runs", *arguments).stdout.splitlines()]


def test_in_a_pipe_runs_are_lines(service: httpx.Client, instance: DagsterInstance) -> None:
    """One line per run, its cells separated by tabs, without a head; the newest first."""
    run_id = start(service)
    work(instance, run_id)
    cells = planasonix("runs", "--limit", "1").stdout.rstrip("\n").split("\t")
    assert cells[:4] == [run_id, "pl_crm", "succeeded", "api"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", cells[4])
    assert re.fullmatch(r"\d\.\d\ds", cells[5])


def test_runs_are_chosen_as_the_api_chooses_them(service: httpx.Client, instance: DagsterInstance) -> None:
    """By pipeline, also by its name, status, trigger and time."""
    queued = start(service)
    failed = encode_run_id(
        make_run(instance, status=DagsterRunStatus.FAILURE, tags={"planasonix/trigger": "schedule"}).run_id
    )
    assert queued in ids("--pipeline", "crm_to_warehouse", "--all")
    assert failed not in ids("--pipeline", "pl_crm", "--all")
    assert ids("--pipeline", "slow", "--status", "failed,canceled", "--limit", "1") == [failed]
    assert failed in ids("--trigger", "schedule", "--trigger", "sensor")
    assert queued in ids("--from", "1h", "--all")
    assert ids("--to", "1h") == []
    assert queued in ids("--from", "2020-01-01", "--to", "2999-12-31", "--limit", "500")


def test_a_limit_may_take_several_pages(service: httpx.Client, instance: DagsterInstance) -> None:
    """As many as were asked for; the cursor in the JSON leads on."""
    for _ in range(3):
        make_run(instance, status=DagsterRunStatus.SUCCESS)
    told = json.loads(planasonix("runs", "--limit", "2", "--json").stdout)
    page = service.get("/api/runs", params={"limit": 2}).json()
    assert told == page
    everything = json.loads(planasonix("runs", "--all", "--json").stdout)
    assert everything["meta"]["cursor"] is None
    assert [run["id"] for run in everything["data"]] == ids("--all")
    assert ids("--limit", "501") == ids("--all")[:501]


def test_on_a_terminal_runs_are_a_table(service: httpx.Client, instance: DagsterInstance) -> None:
    """With a head, and the status in its colour."""
    make_run(instance, status=DagsterRunStatus.FAILURE)
    with Terminal("runs") as terminal:
        assert terminal.end() == 0
    assert "PIPELINE" in terminal.shown
    assert re.search(r"\x1b\[1;31mfailed *\x1b\[0m", terminal.shown)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--status", "broken"], "'broken' is not one of queued, running"),
        (["--from", "yesterday"], "2025-03-31"),
        (["--limit", "0"], "--limit"),
        (["--pipeline", "crm_to_werehouse"], "Did you mean crm_to_warehouse"),
    ],
)
def test_what_is_wrong_with_a_call_makes_exit_code_2(arguments: list[str], told: str, service: httpx.Client) -> None:
    """In the words of the API, where that is who refuses it."""
    assert told in planasonix("runs", *arguments, code=2).stderr


def test_a_run_is_shown_in_full(service: httpx.Client, instance: DagsterInstance) -> None:
    """In a pipe: facts by name, an empty line, a line per node with plain figures; as JSON what the API says."""
    run_id = start(service)
    work(instance, run_id)
    facts, _, nodes = planasonix("show", run_id).stdout.partition("\n\n")
    told = dict(line.split("\t") for line in facts.splitlines())
    assert (told["run"], told["pipeline"]) == (run_id, "crm_to_warehouse (pl_crm)")
    assert (told["status"], told["started by"], told["rows read"]) == ("succeeded", "api user=tests", "7")
    assert "error" not in told
    cells = [line.split("\t") for line in nodes.splitlines()]
    assert [cell[0] for cell in cells] == ["n_source", "keep-recent", "n_flaky"]
    assert (cells[0][1:4], cells[2][7:]) == (["source.postgres", "succeeded", "7"], ["2", ""])
    shown = json.loads(planasonix("show", run_id, "--json").stdout)
    assert shown.pop("nodes") == service.get(f"/api/runs/{run_id}/nodes").json()["nodes"]
    assert shown == service.get(f"/api/runs/{run_id}").json()


def test_a_failed_run_says_why(service: httpx.Client, instance: DagsterInstance) -> None:
    """The run, and each node of it that failed; on a terminal too."""
    run_id = start(service, "pl_bad")
    work(instance, run_id)
    printed = planasonix("show", run_id).stdout
    assert "error\tnode_error of n_bad: column 'amount' does not exist\n" in printed
    assert re.search(r"^n_bad\ttransform.select\tfailed\t.*\tcolumn 'amount' does not exist$", printed, re.MULTILINE)
    with Terminal("show", run_id) as terminal:
        assert terminal.end() == 0
    assert "ERROR" in terminal.shown
    assert re.search(r"\x1b\[1;31mfailed *\x1b\[0m", terminal.shown)
