"""Finds what people name: a pipeline by its id or name, a run by its id or the one that Dagster shows."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import click

from api_adapter.client import RefusedError, RunsClient
from api_adapter.commands.errors import CommandError, ExitCode
from api_adapter.legible import legible
from planasonix_orchestrator.contract.ids import PIPELINE_PREFIX, RunIdError, decode_run_id, encode_run_id

_PIPELINE_ID = re.compile(rf"{PIPELINE_PREFIX}[A-Za-z0-9_-]+")
_MOST_SHOWN = 10
_MOST_PROBLEMS = 3


class RunId(click.ParamType[str]):
    """A run's id, as the API or as Dagster writes it."""

    name = "run"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the API's id."""
        text = str(value).strip()
        try:
            decode_run_id(text)
        except RunIdError as error:
            try:
                return encode_run_id(text.lower())
            except RunIdError:
                self.fail(f"{error}. `planasonix runs` shows the ids.", param, ctx)
        return text


def find_pipeline(client: RunsClient, named: str) -> str:
    """Return the id of the pipeline with this id or name.

    What looks like an id is not looked up: runs outlive their pipelines. `CommandError` if no pipeline has the name, or
    several have it.
    """
    if _PIPELINE_ID.fullmatch(named):
        return named
    found = [one for one in client.list_pipelines(search=named)["data"] if one["name"] == named]
    if len(found) == 1:
        return str(found[0]["id"])
    if not found:
        raise pipeline_not_found(client, named)
    ids = ", ".join(one["id"] for one in found)
    raise CommandError(
        f"{len(found)} pipelines have the name {named!r}; choose one by its id: {legible(ids)}.",
        exit_code=ExitCode.BAD_INPUT,
    )


def pipeline_not_found(client: RunsClient, named: str) -> CommandError:
    """Return the error for a pipeline that is not there: with the nearest ones, else what did not load."""
    told = client.list_pipelines()
    lines = _near(named, told["data"]) or [*_all(told["data"]), *_broken(told["meta"].get("problems", ()))]
    message = f"There is no pipeline {named!r}, or this key may not see it."
    return CommandError("\n".join([message, *lines]), exit_code=ExitCode.BAD_INPUT)


def _broken(problems: Sequence[Any]) -> Sequence[str]:
    """Return lines about documents that did not load: the pipeline that was meant may be one of them."""
    if not problems:
        return []
    shown = [legible(f"  {one['file']}:{one['line']}: {one['message']}") for one in problems[:_MOST_PROBLEMS]]
    more = [f"  and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
    return ["Some documents have problems and did not load:", *shown, *more]


def is_pipeline_missing(error: RefusedError) -> bool:
    """Tell whether a call was refused since there is no such pipeline."""
    return error.code == "pipeline_not_found"


def _near(named: str, pipelines: Sequence[Any]) -> Sequence[str]:
    """Return a line with the pipelines whose name or id looks like the one that was given."""
    from difflib import get_close_matches

    shown: dict[str, list[str]] = {}
    for one in pipelines:
        for word in (one["name"], one["id"]):
            shown.setdefault(word, []).append(_name_and_id(one))
    close = chain.from_iterable(shown[word] for word in get_close_matches(named, shown, n=3))
    words = " or ".join(dict.fromkeys(close))
    return [f"Did you mean {words}?"] if words else []


def _all(pipelines: Sequence[Any]) -> Sequence[str]:
    """Return a line with all pipelines, if they are few."""
    if not 0 < len(pipelines) <= _MOST_SHOWN:
        return []
    return [f"There are: {', '.join(map(_name_and_id, pipelines))}."]


def _name_and_id(pipeline: Any) -> str:
    return legible(f"{pipeline['name']} ({pipeline['id']})")
