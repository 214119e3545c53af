"""Takes the pictures of the README: a job graph, a run, and what starts runs, in the Dagster UI, by headless Chromium.

Run again whenever the UI changes: `make screenshots`. Installs Debian's chromium if the machine has none.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from examples.demo.client import Client
from examples.demo.data import EXAMPLES, PIPELINES, prepare_data
from examples.demo.stack import running_stack
from planasonix_orchestrator.contract.ids import decode_run_id
from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME, REPOSITORY_NAME

IMAGES = EXAMPLES.parent / "docs" / "images"
PIPELINE_ID, JOB_NAME = "pl_on_time_performance", "on_time_performance"
LARGEST = 300_000  # bytes
MILLISECONDS_TO_DRAW = 15_000
SECONDS_TO_DRAW = 120


class ScreenshotError(Exception):
    """A picture could not be taken, or is too large for the repository."""


def main() -> None:
    """Start the stack, run a pipeline, and take the pictures of it."""
    browser = _chromium()
    prepare_data()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with running_stack(pipelines=PIPELINES, state=Path(".planasonix/demo").absolute()) as stack:
        with stack.client() as http:
            client = Client(http)
            client.wait_for_pipelines({PIPELINE_ID})
            run_id = client.start(PIPELINE_ID, variables={})
            *_, (run, _) = client.watch(run_id)
        if run["status"] != "succeeded":
            raise ScreenshotError(f"the run {run['status']}: {run['error']}")
        for name, path, size in (
            ("job-graph", f"/locations/{REPOSITORY_NAME}@{CODE_LOCATION_NAME}/jobs/{JOB_NAME}", "1500,1500"),
            ("run", f"/runs/{decode_run_id(run_id)}", "1440,900"),
            ("automation", "/automation", "1440,560"),
        ):
            take(f"{stack.dagster_url.rstrip('/')}{path}", size=size, target=IMAGES / f"{name}.png", browser=browser)
            print(f"{(IMAGES / name).with_suffix('.png')}")


def take(url: str, *, size: str, target: Path, browser: str) -> None:
    """Take a picture of a page, `size` (``width,height`` in pixels) large, once it has been drawn."""
    with TemporaryDirectory() as profile:
        part = Path(profile) / "picture.png"
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size={size}",
            f"--virtual-time-budget={MILLISECONDS_TO_DRAW}",
            f"--screenshot={part}",
            url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_DRAW, check=False)
        if done.returncode or not part.exists():
            raise ScreenshotError(f"{browser} took no picture of {url}: {done.stderr[-2000:]}")
        if part.stat().st_size > LARGEST:
            raise ScreenshotError(f"the picture of {url} has {part.stat().st_size:,} bytes, at most {LARGEST:,} may be")
        shutil.copyfile(part, target)


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if not shutil.which("apt-get"):
        raise ScreenshotError("no Chromium here: install one and put it on the PATH")
    subprocess.run(["apt-get", "update", "--quiet"], check=True)
    subprocess.run(["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "chromium"], check=True)
    return "chromium"


if __name__ == "__main__":
    try:
        main()
    except ScreenshotError as error:
        sys.exit(str(error))
