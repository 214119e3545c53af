"""A bucket or container, or what begins with a prefix in it, as a place where objects arrive: listed by fsspec."""

import importlib
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from planasonix_orchestrator.dagster_defs.sensors.arrivals.place import Listing, PlaceError
from planasonix_orchestrator.dagster_defs.sensors.arrivals.waiting import Arrival
from planasonix_orchestrator.errors import PlanasonixError
from planasonix_orchestrator.graph.globs import Selection
from planasonix_orchestrator.graph.model import EnvironmentSecret
from planasonix_orchestrator.graph.triggers import S3Config

# By the scheme of the paths: the package that lists them, and the extra of ours that installs it.
_PACKAGES: Mapping[str, tuple[str, str]] = {
    "s3": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "az": ("adlfs", "azure"),
}

_TAKE_MISSING_FOR_EMPTY = frozenset(
    {"az"}
)  # whose package finds nothing, and no fault, in a container that is not there
# Of S3's client: the next poll tries again anyway, and the daemon waits a minute for a poll.
_PATIENCE: Mapping[str, Any] = {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 1}}


class ObjectStore:
    """The objects of a bucket whose keys begin with `prefix`; globs start at the last slash of that.

    An object's version is its ETag, or Google's generation. To S3 the same content stored again is the same version.
    `read_options` returns what the package that lists them is told, keys too; it is called when they are needed.
    """

    def __init__(
        self,
        scheme: str,
        *,
        bucket: str,
        prefix: str,
        selection: Selection,
        read_options: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.scheme = scheme
        self.bucket = bucket
        self.prefix = prefix
        self.selection = selection
        self._read_options = read_options
        self._store: Any = None

    @property
    def address(self) -> str:
        """The address that people know, ``s3://bucket/prefix``."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}"

    def look(self, known: Mapping[str, str]) -> Listing:
        """List the objects. `PlaceError` if the store can't be reached, or refuses."""
        versions: dict[str, str] = {}
        arrivals: list[Arrival] = []
        begin = len(self.bucket) + 1 + self.prefix.rfind("/") + 1
        prefix = f"{self.bucket}/{self.prefix}"  # adlfs leaves out a slash at its end
        for name, facts in self._find().items():
            path = f"{self.scheme}://{name}"
            before = known.get(path)
            if name.endswith("/") or not name.startswith(prefix):
                continue
            if before is None and not self.selection.has(name[begin:]):
                continue
            arrival = _arrival(path, facts)
            versions[path] = arrival.version
            if arrival.version != before:
                arrivals.append(arrival)
        return Listing(versions=versions, arrivals=arrivals)

    def _find(self) -> Mapping[str, Mapping[str, Any]]:
        try:
            options = self._read_options()
        except MissingVariableError as error:
            raise PlaceError(self.address, str(error), hint="set it for the code server") from error
        filesystem = self._filesystem()
        try:
            # Its connections are kept; not by fsspec, which keeps them for each of the code server's threads.
            self._store = self._store or filesystem(use_listings_cache=False, skip_instance_cache=True, **options)
            found: Mapping[str, Mapping[str, Any]] = self._store.find(self.bucket, prefix=self.prefix, detail=True)
            if not found and self.scheme in _TAKE_MISSING_FOR_EMPTY:
                self._store.info(self.bucket)
        except Exception as error:  # the packages and what they are made of raise what they like
            self._store = None
            # Nor is their error shown as the cause: what they put into it is nothing that we could vouch for.
            raise PlaceError(
                self.address, _reason(error, options=options), hint="see the trigger's config and its keys"
            ) from None
        return found

    def _filesystem(self) -> Callable[..., Any]:
        package, extra = _PACKAGES[self.scheme]
        try:
            importlib.import_module(package)
        except ImportError as error:
            hint = f"pip install 'planasonix[{extra}]' for the code server"
            raise PlaceError(self.address, f"the package {package} is not installed", hint=hint) from error
        from fsspec import get_filesystem_class  # for triggers on object stores only

        filesystem: Callable[..., Any] = get_filesystem_class(self.scheme)
        return filesystem


class MissingVariableError(PlanasonixError):
    """An environment variable that a config names is not set."""

    def __init__(self, key: str, *, variable: str) -> None:
        super().__init__(f"{key} is read from the environment variable {variable}, which is not set")


def read_s3_options(config: S3Config) -> Mapping[str, Any]:
    """Return what s3fs is told: an address, a region, keys. `MissingVariableError` if there is no such key."""
    client = {"endpoint_url": config.endpoint_url, "region_name": config.region}
    keys = (("key", "accessKeyId", config.access_key_id), ("secret", "secretAccessKey", config.secret_access_key))
    return {
        "client_kwargs": {name: value for name, value in client.items() if value},
        "config_kwargs": _PATIENCE,
        **{name: _from_environment(secret, key=key) for name, key, secret in keys if secret is not None},
    }


def _from_environment(secret: EnvironmentSecret, *, key: str) -> str:
    value = os.environ.get(secret.env)
    if not value:
        raise MissingVariableError(key, variable=secret.env)
    return value


def _reason(error: Exception, *, options: Mapping[str, Any]) -> str:
    first = str(error).strip().partition("\n")[0][:300]
    for secret in (options.get("key"), options.get("secret")):
        first = first.replace(secret, "***") if secret else first
    return f"the objects can't be listed: {type(error).__name__}{': ' if first else ''}{first}"


def _arrival(path: str, facts: Mapping[str, Any]) -> Arrival:
    size = int(facts.get("size") or 0)
    modified = next((facts[key] for key in ("LastModified", "last_modified", "mtime") if facts.get(key)), None)
    seconds = modified.timestamp() if isinstance(modified, datetime) else 0.0
    # Google's ETag changes with what is noted on an object, too; its generation only with the content.
    tag = next((facts[key] for key in ("ETag", "generation", "etag") if facts.get(key)), None)
    version = str(tag).strip('"') if tag else f"{modified}-{size}"
    return Arrival(path, version, size, seconds)
