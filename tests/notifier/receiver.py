"""An endpoint over real HTTP: it keeps what it gets, checks signatures as a receiver should, and answers as told."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True)
class Received:
    """A request as it came; `verified` if its signature is right."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    verified: bool
    at: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.body)
        return message

    @property
    def type(self) -> str:
        return str(self.message["type"])

    @property
    def run_id(self) -> str:
        return str(self.message["data"].get("id"))


@dataclass(frozen=True)
class Reply:
    """What to answer, and after how many seconds."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: float = 0.0


Answer = Callable[[Received], Reply]


class Receiver:
    """All endpoints of a test: each is a path of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = Lock()
        self._received: list[Received] = []
        self._answers: dict[str, Answer] = {}

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._port}/{name}"

    def answer(self, name: str, answer: Answer) -> None:
        """Have an endpoint answer so from now on; without this it accepts everything."""
        self._answers[f"/{name}"] = answer

    def got(self, name: str) -> list[Received]:
        """What an endpoint has got, in order."""
        with self._lock:
            return [each for each in self._received if each.path == f"/{name}"]

    def told(self, name: str) -> list[tuple[str, str]]:
        """The type and the run of each message that an endpoint has got."""
        return [(each.type, each.run_id) for each in self.got(name)]

    def take(self, received: Received) -> Reply:
        with self._lock:
            self._received.append(received)
        answer = self._answers.get(received.path)
        return answer(received) if answer else Reply()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens on the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reply = receiver.take(Received(self.path, dict(self.headers.items()), body, _verify(body, self.headers)))
            if reply.after:
                time.sleep(reply.after)
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
            except OSError:
                self.close_connection = True  # the sender has lost patience

        def log_message(self, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False  # a slow endpoint need not come to its end

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_port)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def _verify(body: bytes, headers: Any) -> bool:
    try:
        Webhook(SECRET).verify(body, dict(headers.items()))
    except WebhookVerificationError:
        return False
    return True
