"""The last layer: what can't be read as HTTP is refused in the error shape of the API too."""

from secrets import token_hex

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api_adapter.exception_handlers import write_error

_HEAD = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %s\r\n"
    b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
)


class ApiProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, but for the answer to a request that no application ever sees.

    For uvicorn's option ``http``. Unknown methods belong to it, since their number is closed to the parser.
    """

    def send_400_response(self, msg: str) -> None:
        """Answer with a new request id, and close the connection: where the next request begins is not known."""
        request_id = token_hex(16)
        body = write_error(code="invalid_request", message=msg, details=(), request_id=request_id)
        self.transport.write(_HEAD % (len(body), request_id.encode()) + body)
        self.transport.close()
