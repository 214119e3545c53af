"""The watcher: real files, real notifications."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from planasonix_orchestrator.runtime.watcher import PipelineWatcher

pytestmark = pytest.mark.stack  # reading all documents anew takes a second each time

BROKEN = "id: pl_broken\nname: broken\nnodes:\n  - {id: n_x, type: source.cvs, config: {path: x.csv}}\n"
VALID = "id: pl_valid\nname: valid\nnodes:\n  - {id: n_x, type: source.csv, config: {path: x.csv}}\n"


class Scene:
    """A watched folder, with what the watcher did about it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self.reloads = 0
        self.told: list[str] = []

    def play(self, script: Callable[["Scene"], Coroutine[object, None, None]]) -> None:
        """Run the script beside the watcher."""
        asyncio.run(self._play(script))

    async def _play(self, script: Callable[["Scene"], Coroutine[object, None, None]]) -> None:
        async def well() -> None:
            return

        watcher = PipelineWatcher(self.folder, reload=self._reload, tell=self.told.append)
        watching = asyncio.create_task(watcher.watch(well))
        await self._until_watched()
        try:
            await script(self)
        finally:
            watching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watching

    async def _until_watched(self) -> None:
        # Nothing tells when the kernel has begun to watch, so change a file until it is noticed.
        while not self.reloads:
            (self.folder / "warm.yaml").write_text(VALID)
            await asyncio.sleep(0.05)
        (self.folder / "warm.yaml").unlink()
        await self.quiet()
        self.reloads = 0
        self.told.clear()

    def _reload(self) -> None:
        self.reloads += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds; fails after some seconds."""
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen: {self.reloads} reloads, told {self.told}"
            await asyncio.sleep(0.01)

    async def quiet(self) -> None:
        """Return when no reload has happened for a while."""
        seen = -1
        while seen != self.reloads:
            seen = self.reloads
            await asyncio.sleep(0.6)


def test_adding_editing_and_removing_a_file_reload(tmp_path: Path) -> None:
    """Every kind of change to a pipeline file or to connections.yaml loads the pipelines anew."""

    async def script(scene: Scene) -> None:
        file = scene.folder / "valid.yaml"
        for change in (
            lambda: file.write_text(VALID),
            lambda: file.write_text(VALID + "description: changed\n"),
            lambda: file.rename(scene.folder / "renamed.yml"),
            lambda: (scene.folder / "renamed.yml").unlink(),
            lambda: (scene.folder / "connections.yaml").write_text("connections: []\n"),
        ):
            before = scene.reloads
            change()
            await scene.until(lambda before=before: scene.reloads > before)  # type: ignore[misc]
            await scene.quiet()

    Scene(tmp_path / "pipelines").play(script)


def test_files_that_are_no_documents_do_not_reload(tmp_path: Path) -> None:
    """Data, notes and an editor's hidden files are none of the watcher's business."""

    async def script(scene: Scene) -> None:
        for name in ("data.csv", "notes.md", ".valid.yaml.swp", ".hidden.yaml"):
            (scene.folder / name).write_text("x")
        await scene.quiet()
        assert scene.reloads == 0

    Scene(tmp_path / "pipelines").play(script)


def test_a_storm_of_changes_makes_few_reloads(tmp_path: Path) -> None:
    """Two hundred files written at once are loaded in one go, or a few."""

    async def script(scene: Scene) -> None:
        for number in range(200):
            (scene.folder / f"p{number}.yaml").write_text(VALID.replace("valid", f"p{number}"))
        await scene.until(lambda: scene.reloads > 0)
        await scene.quiet()
        assert scene.reloads <= 3

    Scene(tmp_path / "pipelines").play(script)


def test_a_problem_is_told_once_in_one_line_and_its_end_too(tmp_path: Path) -> None:
    """A broken file is told with its place; other changes don't repeat it; mending it is told."""

    async def script(scene: Scene) -> None:
        broken = scene.folder / "broken.yaml"
        broken.write_text(BROKEN)
        await scene.until(lambda: scene.told != [])
        (line,) = scene.told
        assert line.startswith(f"{broken}:4:")
        assert "source.csv" in line
        (scene.folder / "valid.yaml").write_text(VALID)
        await scene.quiet()
        assert len(scene.told) == 1
        broken.unlink()
        await scene.until(lambda: len(scene.told) == 2)
        assert scene.told[1] == "The pipelines have no problem any more."

    Scene(tmp_path / "pipelines").play(script)


def test_a_folder_that_is_replaced_is_watched_on(tmp_path: Path) -> None:
    """A folder moved away and made anew, as by switching a branch, is loaded and watched again."""

    async def script(scene: Scene) -> None:
        scene.folder.rename(scene.folder.with_name("old"))
        scene.folder.mkdir()
        await scene.until(lambda: scene.reloads > 0)
        await scene.quiet()
        before = scene.reloads
        deadline = time.monotonic() + 10
        while scene.reloads == before and time.monotonic() < deadline:
            (scene.folder / "valid.yaml").write_text(VALID)
            await asyncio.sleep(0.2)
        assert scene.reloads > before

    Scene(tmp_path / "pipelines").play(script)
