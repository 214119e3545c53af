"""The zygote: a process with one thread that has everything imported, and forks the workers of runs.

A fork costs milliseconds where a new interpreter takes over a second to import Dagster. Only a process with one thread
can be forked safely, so the zygote does nothing else: the host asks for a worker by sending one end of its channel,
and is told the worker's pid, and later how it ended. It is gone when the host is.
"""

import gc
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from planasonix_orchestrator.run_host import channel

# Threads that libraries start when they are imported, which a fork would lose.
SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
_OOM_SCORE = "500"  # of -1000 (never) to 1000 (first); man 5 proc_pid_oom_score_adj
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(control: socket.socket) -> None:
    """Fork a worker for each message on `control`, until its other end is gone."""
    from planasonix_orchestrator.run_host.worker import Template  # Dagster takes a second to import

    template = Template.load()
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # the host tells the zygote what to do, by closing the channel
    wakeup, ended = socket.socketpair()
    wakeup.settimeout(0)
    ended.settimeout(0)
    signal.set_wakeup_fd(ended.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()  # so that no collection in a worker touches, and thereby copies, what all share
    channel.send(control, {"ready": os.getpid()})
    while True:
        readable, _, _ = select.select([control, wakeup], [], [])
        if wakeup in readable:
            with suppress(BlockingIOError):
                wakeup.recv(4096)
            _reap(control)
        if control in readable:
            message, descriptors = channel.receive(control, most_descriptors=1)
            if message is None:
                return
            pid = os.fork()
            if pid == 0:
                for one in (control, wakeup, ended):
                    one.close()
                _become_worker(template, socket.socket(fileno=descriptors[0]))
            os.close(descriptors[0])
            channel.send(control, {"forked": pid})


def _reap(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        channel.send(control, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _become_worker(template: Any, orders: socket.socket) -> NoReturn:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    with suppress(OSError):  # where memory runs out, a run is to be ended rather than Postgres
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    os.setsid()  # a session and a process group of its own, by which all that the run starts can be ended
    code = 1
    try:
        code = template.work(orders)
    except BaseException:  # the end of this process, which must not go on as a second zygote
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)  # at once: what the zygote had to do at its own end is not the worker's business


if __name__ == "__main__":
    with suppress(BrokenPipeError):  # the host is gone
        serve(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)  # at once: DuckDB and Arrow take their time to take themselves apart, and tell of it
