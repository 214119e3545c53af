"""Routes: who may call them is asked before anything else happens, and all of it in one thread."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from inspect import iscoroutinefunction, signature
from operator import methodcaller
from typing import Any, NamedTuple, cast

from fastapi import Request, Response
from fastapi._compat import ModelField, field_annotation_is_sequence, get_missing_field_error
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.params import Param
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from api_adapter.auth.requirement import Public, Requirement, declared
from api_adapter.dependencies import Dependency
from api_adapter.threads import Threads

_THREADS = Threads(40, name="requests")
_PAST_FASTAPI = "a plain function without a body is called past FastAPI"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRoute(APIRoute):
    """A route that lets nobody in before it has read the request; use it as the `route_class` of every router.

    FastAPI reads first, so that a stranger could have a body parsed, and be told what is wrong with it. And it takes
    longer over the parameters of a plain read than Postgres over its rows: plain functions without a body, which give
    a `Response`, are called past it, in one change of threads.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        if self._is_plain:
            # FastAPI would keep stacks of contexts, which no `Dependency` enters, and look for handlers of exceptions
            # a second time, which the layer around all routes finds.
            self.app = _answering(self.get_route_handler())

    @property
    def _is_plain(self) -> bool:
        return self.body_field is None and not iscoroutinefunction(self.endpoint)

    def get_route_handler(self) -> Handler:
        """Return the handler behind the guard; `UndeclaredRouteError` if the route does not say whom it takes."""
        declaration = declared(self.dependant, path=self.path)
        if self._is_plain:
            return _in_one_thread(_PlainEndpoint(self.dependant))
        handle = super().get_route_handler()
        return handle if isinstance(declaration, Public) else _admitting_first(handle, requirement=declaration)


def _answering(handle: Handler) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handle(Request(scope, receive, send))
        await response(scope, receive, send)

    return answer


def _admitting_first(handle: Handler, *, requirement: Requirement) -> Handler:
    async def guarded(request: Request) -> Response:
        await run_in_threadpool(requirement.find, request)
        return await handle(request)

    return guarded


def _in_one_thread(endpoint: "_PlainEndpoint") -> Handler:
    async def handle(request: Request) -> Response:
        return await _THREADS.run(partial(endpoint.answer, request))

    return handle


class _PlainEndpoint:
    """A function that answers requests, with what it is given: dependencies first, the guard's before the others."""

    def __init__(self, dependant: Dependant) -> None:
        _check_plain(dependant)
        self._call = cast("Callable[..., Response]", dependant.call)
        self._dependencies = sorted(map(_named, dependant.dependencies), key=lambda one: not _guards(one[1]))
        self._path = _Parameters(dependant.path_params)
        self._query = _Parameters(dependant.query_params)
        self._headers = _Parameters(dependant.header_params)
        self._request_name = dependant.request_param_name

    def answer(self, request: Request) -> Response:
        """Return the function's answer; `RequestValidationError` if a parameter can't be read."""
        found = [(name, dependency.find(request)) for name, dependency in self._dependencies]
        values = {name: value for name, value in found if name is not None}
        errors = [
            *self._path.read(request.path_params, into=values),
            *self._query.read(request.query_params, into=values),
            *self._headers.read(request.headers, into=values),
        ]
        if errors:
            raise RequestValidationError(errors)
        if self._request_name is not None:
            values[self._request_name] = request
        return self._call(**values)


def _check_plain(dependant: Dependant) -> None:
    """Raise TypeError if the function wants, or gives, what only FastAPI could make something of."""
    returned = signature(cast("Callable[..., Any]", dependant.call)).return_annotation
    if not (isinstance(returned, type) and issubclass(returned, Response)) or dependant.response_param_name:
        raise TypeError(
            f"{dependant.path}: {_PAST_FASTAPI}, so it must return a `Response`, with its status and headers"
        )


def _named(dependant: Dependant) -> tuple[str | None, Dependency]:
    if not isinstance(dependant.call, Dependency):
        raise TypeError(f"{dependant.call!r} must be a `Dependency`: {_PAST_FASTAPI}")
    return dependant.name, dependant.call


def _guards(dependency: Dependency) -> bool:
    return isinstance(dependency, Requirement | Public)


class _Parameters:
    """The parameters of one part of a request, validated by FastAPI's own fields; what was not sent costs nothing.

    FastAPI finds out anew for each request how a parameter is called, and whether it may come several times.
    """

    def __init__(self, fields: Sequence[ModelField]) -> None:
        self._given = [_Parameter.of(one) for one in fields]
        self._defaults = {one.name: one.default for one in fields if not one.field_info.is_required()}

    def read(self, received: Mapping[str, Any], *, into: dict[str, Any]) -> list[Any]:
        """Put the values into a dict; return what is wrong with them, as FastAPI says it."""
        into.update(self._defaults)
        errors: list[Any] = []
        for one in self._given:
            if one.alias in received:
                value, wrong = one.validate(one.take(received), loc=one.place)
                errors += wrong
                into[one.name] = value
            elif one.name not in self._defaults:
                errors.append(get_missing_field_error(loc=one.place))
        return errors


class _Parameter(NamedTuple):
    """How a parameter is called by the function and by the caller, where it stands, and what takes and checks it."""

    name: str
    alias: str
    place: tuple[str, str]
    take: Callable[[Any], Any]
    validate: Callable[..., tuple[Any, list[Any]]]

    @classmethod
    def of(cls, field: ModelField) -> "_Parameter":
        info = cast("Param", field.field_info)
        several = field_annotation_is_sequence(info.annotation)
        take = methodcaller("getlist" if several else "get", field.alias)
        return cls(field.name, field.alias, (info.in_.value, field.alias), take, field.validate)
