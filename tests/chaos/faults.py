"""What is done to the stack: parts killed or stopped for a while, connections cut, its clock set."""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import psutil
import psycopg2

from planasonix_orchestrator.run_host.run_folders import RunFolders
from planasonix_orchestrator.runtime.leftovers import POSTGRES_FOLDER
from planasonix_orchestrator.runtime.parts import DAEMON, DATABASE
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres
from tests.chaos.clock import Clock
from tests.runtime.stack import Stack

_PARTS: Mapping[str, str] = {
    "host": "planasonix_orchestrator.run_host",
    "daemon": DAEMON,
    "code_server": "code-server",
    "api": "api_adapter",
    "postgres": "postgres",
}
_SECONDS_OF_JUMP = (60, 3 * 60 * 60)
_FARTHEST_SECONDS = 4 * 60 * 60  # that the clock is ever wrong by
_SET_CLOCK_WEIGHT = 6
_WORKING_BACKENDS = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()
AND (query LIKE '%pg_sleep%' OR query LIKE '%slowly%'
OR query LIKE '%chaos.input%' OR query LIKE '%planasonix_stage%')"""


class Saboteur:
    """Does what a bad day does. Each fault returns whom it has met; nobody, if there was nobody.

    `clock`: that of the stack, where it can be set.
    """

    def __init__(self, stack: Stack, chance: random.Random, *, clock: Clock | None = None) -> None:
        self._stack = stack
        self._chance = chance
        self._clock = clock
        self._timers: list[threading.Timer] = []
        self.faults: Mapping[str, tuple[int, Callable[[], str]]] = {
            "kill worker": (24, self._kill_worker),
            "kill run host": (2, lambda: self._kill("host")),
            "kill zygote": (2, self._kill_zygote),
            "kill daemon": (1, lambda: self._kill("daemon")),
            "kill code server": (1, lambda: self._kill("code_server")),
            "kill API": (2, lambda: self._kill("api")),
            "kill Postgres": (1, lambda: self._kill("postgres")),
            "kill run host and worker": (2, self._kill_host_and_worker),
            "kill all but Postgres": (1, self._kill_all),
            "cut a source's connection": (8, self._cut),
            "stop run host": (1, lambda: self._stop(self.part("host"))),
            "stop worker": (2, lambda: self._stop(self._one(self.workers()))),
            "stop API": (1, lambda: self._stop(self.part("api"))),
            "stop Postgres": (1, lambda: self._stop(self.part("postgres"))),
            **({"set the clock": (_SET_CLOCK_WEIGHT, lambda: self._jump(clock))} if clock else {}),
        }

    def choose(self) -> str:
        """Choose the next fault."""
        (name,) = self._chance.choices(list(self.faults), weights=[weight for weight, _ in self.faults.values()])
        return name

    def commit(self, name: str) -> str:
        """Commit a fault; return whom it has met."""
        return self.faults[name][1]()

    def make_up(self) -> None:
        """Let everybody go on who was stopped. The clock stays wrong every other time: nothing may wait for it."""
        for timer in self._timers:
            timer.join()
        self._timers.clear()
        if self._clock is not None and self._chance.random() < 0.5:
            self.set_right()

    def set_right(self) -> str:
        """Set the clock to what it is, where it can be set; return by how much."""
        if self._clock is None or not self._clock.ahead:
            return ""
        jump = -self._clock.ahead
        self._clock.set(0)
        return f"{jump:+} s, and is right"

    def part(self, name: str) -> psutil.Process | None:
        """The process of a part as it is now."""
        for process in psutil.Process(self._stack.process.pid).children():
            with suppress(psutil.Error):
                if any(word.endswith(_PARTS[name]) for word in process.cmdline()[:4]):
                    return process
        return None

    def zygote(self) -> psutil.Process | None:
        """The zygote of the run host."""
        host = self.part("host")
        with suppress(psutil.Error):
            return next(iter(host.children()), None) if host else None
        return None

    def workers(self) -> list[psutil.Process]:
        """The processes that work on runs."""
        found = []
        for folder in RunFolders(self._stack.state / "runs"):
            process = folder.process
            if process is not None and process.alive:
                with suppress(psutil.Error):
                    found.append(psutil.Process(process.pid))
        return sorted(found, key=lambda each: each.pid)

    def postgres_url(self) -> str:
        """The URL of the stack's database."""
        return EmbeddedPostgres(self._stack.state / POSTGRES_FOLDER).url(DATABASE)

    def _one(self, processes: list[psutil.Process]) -> psutil.Process | None:
        return self._chance.choice(processes) if processes else None

    def _kill(self, part: str) -> str:
        return _kill([self.part(part)])

    def _kill_worker(self) -> str:
        return _kill([self._one(self.workers())])

    def _kill_zygote(self) -> str:
        return _kill([self.zygote()])

    def _kill_host_and_worker(self) -> str:
        return _kill([self.part("host"), self._one(self.workers())])

    def _kill_all(self) -> str:
        return _kill([*(self.part(name) for name in _PARTS if name != "postgres"), self.zygote(), *self.workers()])

    def _stop(self, process: psutil.Process | None) -> str:
        seconds = self._chance.uniform(0.5, 4)
        if process is None:
            return ""
        pid = process.pid
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        timer = threading.Timer(seconds, _go_on, [process])
        timer.start()
        self._timers.append(timer)
        return f"{pid} for {seconds:.1f} s"

    def _jump(self, clock: Clock) -> str:
        """Set the clock by minutes as often as by hours, forwards as often as backwards."""
        shortest, longest = _SECONDS_OF_JUMP
        jump = round(shortest * (longest / shortest) ** self._chance.random()) * self._chance.choice((-1, 1))
        if abs(clock.ahead + jump) > _FARTHEST_SECONDS:
            jump = -jump
        clock.set(clock.ahead + jump)
        return f"{jump:+} s, to {clock.ahead:+} s"

    def _cut(self) -> str:
        try:
            connection = psycopg2.connect(self.postgres_url(), connect_timeout=3)
        except psycopg2.OperationalError:
            return ""
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(_WORKING_BACKENDS)
                pids = sorted(pid for (pid,) in cursor.fetchall())
                if not pids:
                    return ""
                pid = self._chance.choice(pids)
                cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))
                return str(pid)
        except psycopg2.Error:
            return ""
        finally:
            connection.close()


def _kill(processes: Iterable[psutil.Process | None]) -> str:
    killed = []
    for process in processes:
        if process is not None:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                killed.append(str(process.pid))
    return ", ".join(killed)


def _go_on(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.resume()
