"""The raw output of runs, where Dagster's compute-log manager keeps it: files, or objects in a cloud's storage."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BufferedReader, RawIOBase
from pathlib import Path
from threading import Lock
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from api_adapter.control.code_location import DagsterConnection
from api_adapter.control.dagster_api import (
    IO_TYPE_EXTENSION,
    CloudStorageComputeLogManager,
    ComputeIOType,
    ComputeLogManager,
    LocalComputeLogManager,
)
from api_adapter.errors import ApiError, UnavailableError

logger = logging.getLogger("api_adapter")

OutputStream = Literal["stdout", "stderr"]

BYTES_AT_ONCE = 256 * 1024
_LOCKS = 16

Manager = ComputeLogManager[Any]
LogKey = list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputUrl:
    """Where one process's output can be fetched from, until `expires_at` if that is known."""

    stream: OutputStream
    url: str
    expires_at: datetime | None


class Output:
    """Reads the raw output of runs by the file keys under which Dagster's event log names it."""

    def __init__(self, connection: DagsterConnection) -> None:
        self._connection = connection
        self._downloading = tuple(Lock() for _ in range(_LOCKS))

    def chunks(self, run_id: str, *, file_key: str, stream: OutputStream) -> Iterator[bytes] | None:
        """Return an iterator over what a process has put out so far; None if nothing is kept of it."""
        with _output_errors():
            manager = self._manager()
            key = _key(manager, run_id=run_id, file_key=file_key)
            file = self._open(manager, key=key, kind=ComputeIOType(stream))
        return None if file is None else _chunks(file)

    def urls(self, run_id: str, *, file_key: str) -> list[OutputUrl] | None:
        """Return the signed URLs of what a process has put out, once it has ended; None if it is not in a cloud."""
        with _output_errors():
            manager = self._manager()
            if not isinstance(manager, CloudStorageComputeLogManager):
                return None
            key = _key(manager, run_id=run_id, file_key=file_key)
            return [url for kind in ComputeIOType if (url := _url(manager, key=key, kind=kind)) is not None]

    @property
    def has_urls(self) -> bool:
        """Whether output is kept where it can be fetched from by URL."""
        with _output_errors():
            return isinstance(self._manager(), CloudStorageComputeLogManager)

    def _manager(self) -> Manager:
        manager: Manager = self._connection.instance().compute_log_manager
        return manager

    def _open(self, manager: Manager, *, key: LogKey, kind: ComputeIOType) -> BufferedReader | None:
        if isinstance(manager, LocalComputeLogManager):
            return _open_file(manager.get_captured_local_path(key, IO_TYPE_EXTENSION[kind]))
        if isinstance(manager, CloudStorageComputeLogManager):
            with self._downloading[hash((*key, kind)) % _LOCKS]:  # two would write the same file
                return _open_download(manager, key=key, kind=kind)
        first, _ = manager.get_log_data_for_type(key, kind, 0, 1)
        return None if first is None else BufferedReader(_Read(manager, key=key, kind=kind), BYTES_AT_ONCE)


class _Read(RawIOBase):
    """The output that a manager of some other kind keeps, as a file."""

    def __init__(self, manager: Manager, *, key: LogKey, kind: ComputeIOType) -> None:
        self._manager = manager
        self._key = key
        self._kind = kind
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data, self._offset = self._manager.get_log_data_for_type(self._key, self._kind, self._offset, len(buffer))
        buffer[: len(data or b"")] = data or b""
        return len(data or b"")


def _chunks(file: BufferedReader) -> Iterator[bytes]:
    with closing(file), _output_errors():
        while chunk := file.read(BYTES_AT_ONCE):
            yield chunk


def _open_download(
    manager: CloudStorageComputeLogManager[Any], *, key: LogKey, kind: ComputeIOType
) -> BufferedReader | None:
    """Open what the capturing process still has here, else a copy that is gone when it is closed."""
    local = manager.local_manager
    file = _open_file(local.get_captured_local_path(key, IO_TYPE_EXTENSION[kind]))
    if file is not None:
        return file
    for partial in (False, True):
        if manager.cloud_storage_has_logs(key, kind, partial=partial):
            manager.download_from_cloud_storage(key, kind, partial=partial)
            copy = local.get_captured_local_path(key, IO_TYPE_EXTENSION[kind], partial=partial)
            file = _open_file(copy)
            Path(copy).unlink(missing_ok=True)
            return file
    return None


def _open_file(path: str) -> BufferedReader | None:
    try:
        return Path(path).open("rb")
    except FileNotFoundError:
        return None


def _key(manager: Manager, *, run_id: str, file_key: str) -> LogKey:
    return list(manager.build_log_key_for_run(run_id, file_key))


def _url(manager: CloudStorageComputeLogManager[Any], *, key: LogKey, kind: ComputeIOType) -> OutputUrl | None:
    if not manager.cloud_storage_has_logs(key, kind):
        return None
    url = manager.download_url_for_type(key, kind)
    return OutputUrl(stream=kind.value, url=url, expires_at=expiry_of(url)) if url else None


def expiry_of(url: str) -> datetime | None:
    """Return when a signed URL ends, by the parameters of S3 (both signatures), Google and Azure."""
    values = dict(parse_qsl(urlsplit(url).query))
    for cloud in ("X-Amz", "X-Goog"):
        if f"{cloud}-Expires" in values:
            signed = datetime.strptime(values[f"{cloud}-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return signed + timedelta(seconds=int(values[f"{cloud}-Expires"]))
    return _fixed_expiry(values)


def _fixed_expiry(values: Mapping[str, str]) -> datetime | None:
    if "Expires" in values:
        return datetime.fromtimestamp(int(values["Expires"]), UTC)
    return datetime.fromisoformat(values["se"]).astimezone(UTC) if "se" in values else None


@contextmanager
def _output_errors() -> Iterator[None]:
    """Translate whatever a compute-log manager raises: each cloud's client has errors of its own."""
    try:
        yield
    except ApiError:
        raise
    except Exception as error:
        logger.warning("raw output can't be read: %s", error)
        raise UnavailableError("The storage of raw output") from error
