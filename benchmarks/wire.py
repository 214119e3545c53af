"""HTTP/1.1 as bytes: a library's client takes longer over an answer than a quick service does, and would blur it."""

import json
from collections.abc import Mapping

_LENGTH = b"content-length:"
_END = b"\r\n\r\n"


class NotSuccessfulError(AssertionError):
    """An answer without the status 200."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(f"not a success: {answer[:1000].decode(errors='replace')}")


def write_request(
    method: str, path: str, *, headers: Mapping[str, str], body: object = None, accept: str = "application/json"
) -> bytes:
    """Return a request with a JSON body, or with none, as it goes over the wire."""
    content = b"" if body is None else json.dumps(body).encode()
    all_headers = {
        "Host": "127.0.0.1",
        "Accept": accept,
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **headers,
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in all_headers.items())]
    return "\r\n".join(lines).encode() + _END + content


def answer_size(received: bytes | bytearray) -> int:
    """Return the size of the answer that has begun to arrive, which must have a Content-Length; 0 if too little has.

    `NotSuccessfulError` unless its status is 200.
    """
    end = received.find(_END)
    if end < 0:
        return 0
    head = bytes(received[:end])
    if not head.startswith(b"HTTP/1.1 200 "):
        raise NotSuccessfulError(bytes(received))
    (length,) = (line for line in head.lower().split(b"\r\n") if line.startswith(_LENGTH))
    return end + len(_END) + int(length.removeprefix(_LENGTH))


def body_of(answer: bytes | bytearray) -> bytes:
    """Return what follows the head of a complete answer."""
    return bytes(answer[answer.find(_END) + len(_END) :])
