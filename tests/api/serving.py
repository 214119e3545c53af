"""Serving an application over real HTTP on a free loopback port."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import httpx
import uvicorn
from fastapi import FastAPI

from api_adapter.middleware.protocol import ApiProtocol
from tests.api.waiting import wait_until


@contextmanager
def serve(app: FastAPI, *, key: str | None = None, http: type[ApiProtocol] = ApiProtocol) -> Iterator[httpx.Client]:
    """Serve an application with uvicorn in a thread and give a client of it, which sends this API key."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", http=http))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive(), seconds=30)
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()
