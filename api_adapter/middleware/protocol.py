"""The last layer: refuses, in the error shape of the API, what can't be read as HTTP, and what never ends."""

from asyncio import TimerHandle, Transport
from secrets import token_hex

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api_adapter.exception_handlers import CODES, write_error

# Of what is no body: a request's line and headers, and what may stand between and after the chunks of a body. One
# read from the socket more may be held, as it is counted only when it has been parsed.
MOST_BYTES = 64 * 1024
SECONDS_TO_ARRIVE = 60.0  # a whole request, from its first byte or from the connection's beginning
_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}
_HEAD = (
    "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
    "x-request-id: {request_id}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
)


class ApiProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, but for requests that no application ever sees, which uvicorn lets grow without bounds.

    For uvicorn's option ``http``. Unknown methods belong to them, since their number is closed to the parser.
    """

    most_bytes = MOST_BYTES
    seconds_to_arrive = SECONDS_TO_ARRIVE

    _overdue: TimerHandle | None = None
    _pending = 0  # bytes since a head, a part of a body or a request was complete
    _in_head = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._expect_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and refuse the request if what it calls its head is too large."""
        self._pending += len(data)
        super().data_received(data)
        if self._pending > self.most_bytes and not self.transport.is_closing():
            self._refuse(431, f"The headers are larger than {self.most_bytes} bytes.", code=CODES[431])

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        super().on_message_begin()
        self._in_head = True
        self._expect()

    def on_headers_complete(self) -> None:
        """Note that what follows is a body, or the next request."""
        self._pending, self._in_head = 0, False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that a part of a body has come; how large all of it may be is not our business."""
        self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request has arrived."""
        self._pending = 0
        self._expect_no_more()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, msg, code="invalid_request")

    def _expect(self) -> None:
        self._expect_no_more()
        self._overdue = self.loop.call_later(self.seconds_to_arrive, self._give_up)

    def _expect_no_more(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _give_up(self) -> None:
        if self._in_head:
            self._refuse(408, f"The request did not arrive within {self.seconds_to_arrive:g} s.", code=CODES[408])
        else:  # nothing has come yet, or what comes still is the body of a request that was answered
            self.transport.close()

    def _refuse(self, status: int, message: str, *, code: str) -> None:
        """Answer with a new request id, and close the connection: where the next request begins is not known."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._answer(status, message, code=code)  # else it would stand amid another answer
        self.transport.close()

    def _answer(self, status: int, message: str, *, code: str) -> None:
        request_id = token_hex(16)
        body = write_error(code=code, message=message, details=(), request_id=request_id)
        head = _HEAD.format(status=status, reason=_REASONS[status], length=len(body), request_id=request_id)
        self.transport.write(head.encode() + body)
