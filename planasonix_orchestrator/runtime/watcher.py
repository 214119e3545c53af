"""The watcher: loads the pipelines anew whenever a file of theirs changes, and says what is wrong with them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path

import grpc
from watchfiles import Change, awatch
from watchfiles.main import FileChange

from planasonix_orchestrator.errors import Problem

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
# A change is acted upon after a lull this long, but not later than that.
LULL_MILLISECONDS = 50
LONGEST_WAIT_MILLISECONDS = 400
MILLISECONDS_TO_LOOK_AGAIN = 1000


class PipelineWatcher:
    """Watches a folder of pipelines, calls `reload` after each change, and tells new problems, one line each."""

    def __init__(self, pipelines: Path, *, reload: Callable[[], None], tell: Callable[[str], None]) -> None:
        self._pipelines = pipelines
        self._load_anew = reload
        self._tell = tell
        self._told: frozenset[Problem] = frozenset()

    async def watch(self, well: Callable[[], Awaitable[None]]) -> None:
        """Follow the changes for ever, and act on them once the stack is well; many at once make one reload.

        It looks from the first moment: a file that changes while the code server loads is not missed.
        """
        first = asyncio.create_task(self._tell_first_problems(well))
        async for _ in self._changes():
            await first
            await asyncio.gather(self._reload(), self._tell_problems())

    async def _changes(self) -> AsyncIterator[None]:
        while True:
            watched = _identity(self._pipelines)
            async for changes in self._changes_of_one_folder():
                if changes:
                    yield
                if _identity(self._pipelines) != watched:
                    break
            # Somebody moved the folder away, as switching a branch does; it may come back.
            await asyncio.sleep(MILLISECONDS_TO_LOOK_AGAIN / 1000)
            if _identity(self._pipelines):
                yield

    async def _changes_of_one_folder(self) -> AsyncIterator[set[FileChange]]:
        watching = awatch(
            self._pipelines,
            watch_filter=self._concerns,
            debounce=LONGEST_WAIT_MILLISECONDS,
            step=LULL_MILLISECONDS,
            rust_timeout=MILLISECONDS_TO_LOOK_AGAIN,
            yield_on_timeout=True,
        )
        with suppress(FileNotFoundError):
            async for changes in watching:
                yield changes

    def _concerns(self, _change: Change, path: str) -> bool:
        file = Path(path)
        return file.suffix in SUFFIXES and not file.name.startswith(".")

    async def _reload(self) -> None:
        try:
            await asyncio.to_thread(self._load_anew)
        except grpc.RpcError as error:
            # A code server that is not there loads the files as they are when it is back.
            self._tell(f"The pipelines were not loaded anew: the code server answers {error.code().name}.")

    async def _tell_first_problems(self, well: Callable[[], Awaitable[None]]) -> None:
        await well()
        await self._tell_problems()

    async def _tell_problems(self) -> None:
        problems = await asyncio.to_thread(find_problems, self._pipelines)
        for line in _news(problems, told=self._told):
            self._tell(line)
        self._told = frozenset(problems)


def find_problems(pipelines: Path) -> tuple[Problem, ...]:
    """Return all problems of the pipeline files in the folder."""
    # These load DuckDB and sqlglot, which the start of the stack need not wait for.
    from planasonix_orchestrator.compiler.compile import compile_folder
    from planasonix_orchestrator.graph.loading import load_folder
    from planasonix_orchestrator.nodes.catalog import load_catalog

    return compile_folder(load_folder(pipelines), catalog=load_catalog()).problems


def _news(problems: Iterable[Problem], *, told: frozenset[Problem]) -> list[str]:
    new = [str(problem) for problem in problems if problem not in told]
    return ["The pipelines have no problem any more."] if told and not problems else new


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
