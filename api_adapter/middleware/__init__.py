"""What every request and answer passes through, whatever its route; plain ASGI, since it is paid for each time.

What is inside may leave word in `request.state` for what is outside: ``answer_headers`` (a dict) go out with the
answer, a failure's too; ``credential_id`` appears in the access log; ``request_id`` is there from the beginning.
"""

from collections.abc import Mapping
from types import MappingProxyType

from starlette.middleware import Middleware

from api_adapter.middleware.answer_headers import AnswerHeadersMiddleware
from api_adapter.middleware.base_path import BasePathMiddleware
from api_adapter.middleware.bodies import BodyMiddleware
from api_adapter.middleware.compression import compression
from api_adapter.middleware.cors import cors
from api_adapter.middleware.failures import AnswerFailure, FailuresMiddleware
from api_adapter.middleware.head import HeadMiddleware
from api_adapter.middleware.observation import ObservationMiddleware
from api_adapter.middleware.request_ids import RequestIdMiddleware
from api_adapter.middleware.telemetry import Telemetry

__all__ = ["Telemetry", "build_middleware"]


def build_middleware(
    *,
    cors_origins: tuple[str, ...],
    telemetry: Telemetry,
    answer_failure: AnswerFailure,
    larger_bodies: Mapping[str, int] = MappingProxyType({}),
) -> list[Middleware]:
    """Return all that a request passes on its way in, in this order, and its answer on its way out.

    `larger_bodies` names beginnings of paths, and how many bytes a body may have there.
    """
    failures = Middleware(FailuresMiddleware, answer=answer_failure)
    return [
        Middleware(RequestIdMiddleware),
        Middleware(ObservationMiddleware, telemetry=telemetry),
        Middleware(AnswerHeadersMiddleware),
        failures,  # of what follows
        Middleware(BasePathMiddleware),
        Middleware(HeadMiddleware),
        *cors(cors_origins),
        compression(),
        failures,  # of the application, so that their answers pass CORS and compression too
        Middleware(BodyMiddleware, larger=larger_bodies),
    ]
