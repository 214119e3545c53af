"""The stack as a whole: everything that `planasonix up` does, without a word about how it looks."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from planasonix_orchestrator.runtime.code_server import reload_code
from planasonix_orchestrator.runtime.errors import MissingPipelinesError
from planasonix_orchestrator.runtime.first_key import FirstKeyError, make_first_key
from planasonix_orchestrator.runtime.leftovers import end_leftovers, guarded
from planasonix_orchestrator.runtime.parts import (
    Part,
    Ports,
    api_url,
    build_parts,
    process_environment,
    write_dagster_home,
)
from planasonix_orchestrator.runtime.ports import LOOPBACK, choose_port
from planasonix_orchestrator.runtime.state import StackRecord, locked, write_record
from planasonix_orchestrator.runtime.supervisor import Pace, Supervisor, Tell
from planasonix_orchestrator.runtime.watcher import PipelineWatcher
from planasonix_orchestrator.settings import Settings

# The code server takes any free port: gRPC lets two servers share one, and would deal out calls to both, so that two
# stacks which start at the same time must not wish for the same.
DEFAULT_PORTS = Ports(api=8000, webserver=3000, code_server=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPart:
    """A part that is well: what to show of it. `pid` is None for a Postgres of somebody else's."""

    part: Part
    pid: int | None


def run_stack(
    settings: Settings,
    *,
    wished: Ports = DEFAULT_PORTS,
    when_well: Callable[[Sequence[RunningPart], str | None], None],
    tell: Tell,
    pace: Pace | None = None,
) -> None:
    """Run the stack until Ctrl-C, SIGTERM or SIGHUP, and leave nothing behind, however it ends.

    `AlreadyRunningError`, `MissingPipelinesError` or `PartError` if it can't run. `tell` gets one line for each thing
    that somebody should know. `when_well` gets the parts and, when the stack runs for the first time, the API key that
    was made for it, which nothing tells again.
    """
    if not settings.pipelines.is_dir():
        raise MissingPipelinesError(settings.pipelines)
    with locked(settings.state) as lock, guarded(settings.state, keep_open=[lock]):
        end_leftovers(settings.state)
        ports = _choose_ports(wished, tell=tell)
        settings.logs.mkdir(mode=0o700, exist_ok=True)
        write_dagster_home(settings)
        record = StackRecord(
            pipelines=str(settings.pipelines),
            api_url=api_url(ports),
            code_server_port=ports.code_server,
            embedded=settings.postgres_url is None,
        )
        write_record(settings.state, record=record)
        supervisor = Supervisor(build_parts(settings, ports=ports), state=settings.state, tell=tell, pace=pace)
        reload = partial(reload_code, ports.code_server, webserver=f"http://{LOOPBACK}:{ports.webserver}")
        watcher = PipelineWatcher(settings.pipelines, reload=reload, tell=tell)

        environment = process_environment(settings, code_server_port=ports.code_server)

        async def show() -> None:
            await supervisor.keepers[0].well.wait()  # Postgres, where the key is kept
            key = await asyncio.to_thread(_first_key, settings, environment=environment, tell=tell)
            await supervisor.well()
            when_well([RunningPart(part=keeper.part, pid=keeper.pid) for keeper in supervisor.keepers], key)

        asyncio.run(_until_signal(supervisor.run(show(), watcher.watch(supervisor.well))))


def _first_key(settings: Settings, *, environment: Mapping[str, str], tell: Tell) -> str | None:
    try:
        return make_first_key(settings.state, environment=environment)
    except FirstKeyError as error:
        tell(str(error))
        return None


async def _until_signal(running: Coroutine[object, None, None]) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    task = asyncio.create_task(running)
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    # Once only: a second Ctrl-C must not break off the stopping.
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    elif (error := task.exception()) is not None:
        raise error


def _choose_ports(wished: Ports, *, tell: Tell) -> Ports:
    chosen: dict[str, int] = {}
    for name in ("api", "webserver", "code_server"):
        port = getattr(wished, name)
        chosen[name] = choose_port(port, taken=chosen.values())
        if port not in (0, chosen[name]):
            tell(f"Port {port} is taken; the {name.replace('_', ' ')} listens on {chosen[name]}.")
    return Ports(**chosen)
