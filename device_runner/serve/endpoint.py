"""What the endpoint answers: from a method, a path and a body to a status and a document."""

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from device_runner.recommendations import Recommendations
from device_runner.recommender import Recommender
from device_runner.version import __version__


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may cost.

    Attributes:
        body_bytes: size of a request's body.
        k: items of a list.
        ids: ids of each list of a request (history, exclude, allow, candidates).
        id_length: characters of an id, or of a name or a text value of a user feature.
        seconds: for a client to send a whole request, and to take a whole answer.
        idle_seconds: between two requests of one connection.
        connections: open at the same time; a further one is answered with 503.
    """

    body_bytes: int = 1 << 20
    k: int = 1000
    ids: int = 20_000
    id_length: int = 1000
    seconds: float = 10.0
    idle_seconds: float = 60.0
    connections: int = 16


class RequestError(Exception):
    """A request that cannot be answered; ``status`` says why in HTTP's way."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Endpoint:
    """Answers requests with a recommender, which may be exchanged at any time.

    Attributes:
        recommender: the one in service.
        limits: of each request.
    """

    recommender: Recommender
    limits: Limits = field(default_factory=Limits)
    _requests: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """The document for a request.

        Raises:
            RequestError: there is no such path, or the request is malformed or beyond a limit.
        """
        path = path.partition("?")[0]
        wanted = {name: route_method for (route_method, name) in ROUTES}.get(path)
        if wanted is None:
            known = ", ".join(f"{known_method} {name}" for known_method, name in ROUTES)
            raise RequestError(HTTPStatus.NOT_FOUND, f"no such path; there are {known}")
        if method != wanted:
            raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} is for {wanted}")
        with self._lock:
            self._requests += 1
        route, fields = ROUTES[method, path]
        recommender = self.recommender  # one for the whole request
        if method == "GET":
            return route(self, recommender, {})
        try:
            return route(self, recommender, self._fields(body, fields))
        except (TypeError, ValueError) as error:
            raise RequestError(HTTPStatus.BAD_REQUEST, str(error)) from None

    def _fields(self, body: bytes, fields: Mapping[str, "Check"]) -> dict[str, Any]:
        """The fields of a body, which are checked; those that are ``null`` count as absent."""
        try:
            document = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the body is not JSON ({error})") from None
        if not isinstance(document, dict):
            raise TypeError(f"the body is not a JSON object; it may have {', '.join(fields)}")
        if unknown := set(document) - set(fields):
            raise ValueError(f"unknown field {_shown(min(unknown))}; there are {', '.join(fields)}")
        given = {name: value for name, value in document.items() if value is not None}
        for name, value in given.items():
            fields[name](name, value, self.limits)
        return given

    def recommend(self, recommender: Recommender, given: dict[str, Any]) -> dict[str, Any]:
        _require(given, "history")
        return _listed(recommender.recommend(**given))

    def similar(self, recommender: Recommender, given: dict[str, Any]) -> dict[str, Any]:
        _require(given, "item")
        return _listed(recommender.similar(**given))

    def score(self, recommender: Recommender, given: dict[str, Any]) -> dict[str, Any]:
        _require(given, "history")
        _require(given, "candidates")
        scores = recommender.score(**given)
        return {"scores": [None if math.isnan(score) else score for score in scores]}

    def health(self, recommender: Recommender, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "status": "ok",
            "model": recommender.bundle.name,
            "fingerprint": recommender.bundle.fingerprint,
            "requests": self._requests,
        }

    def model(self, recommender: Recommender, _: dict[str, Any]) -> dict[str, Any]:
        bundle = recommender.bundle
        return {
            "name": bundle.name,
            "scheme": bundle.scheme,
            "fingerprint": bundle.fingerprint,
            "edgerec": __version__,
            "backend": recommender.backend,
            "contract": recommender.contract.to_json(),
            "exclude_history": bundle.exclude_history,
            "titles": bool(bundle.titles),
            "user_features": {feature.name: feature.describe() for feature in bundle.user_features},
            "attributes": sorted(bundle.attributes),
            "limits": {name: getattr(self.limits, name) for name in ("body_bytes", "k", "ids", "connections")},
        }


# The name of a field, its value and the limits; raises TypeError or ValueError.
Check = Callable[[str, Any, Limits], None]


def _ids(name: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, list):
        raise TypeError(f"{name} is not a list of item ids")
    if len(value) > limits.ids:
        raise ValueError(f"{name} has {len(value):,} ids, the limit is {limits.ids:,}")
    for one in value:
        _id(name, one, limits)


def _id(name: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} has {_shown(value)}, but item ids are strings")
    if len(value) > limits.id_length:
        raise ValueError(f"{name} has an id of {len(value):,} characters, the limit is {limits.id_length:,}")


def _k(name: str, value: Any, limits: Limits) -> None:
    if type(value) is not int:
        raise TypeError(f"{name} is {_shown(value)}, not a whole number")
    if not 1 <= value <= limits.k:
        raise ValueError(f"{name} is {_shown(value)}; it may be from 1 to {limits.k:,}")


def _flag(name: str, value: Any, limits: Limits) -> None:
    if type(value) is not bool:
        raise TypeError(f"{name} is {_shown(value)}, not true or false")


def _user(name: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object of features and values")
    for feature, one in value.items():
        if not isinstance(one, str | int | float | bool | None):
            raise TypeError(f"{name} has {_shown(one)} for {_shown(feature)}, not a text or a number")
        if len(feature) > limits.id_length or (isinstance(one, str) and len(one) > limits.id_length):
            raise ValueError(f"{name} has a text of more than {limits.id_length:,} characters")


def _caps(name: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object of attributes and numbers")
    for attribute, most in value.items():
        _k(f"{name} of {_shown(attribute)}", most, limits)


LIST = {"k": _k, "exclude": _ids, "allow": _ids, "at_most": _caps}
Route = Callable[[Endpoint, Recommender, dict[str, Any]], dict[str, Any]]
ROUTES: dict[tuple[str, str], tuple[Route, Mapping[str, Check]]] = {
    ("POST", "/recommend"): (
        Endpoint.recommend,
        {"history": _ids, **LIST, "exclude_history": _flag, "user": _user, "explain": _flag},
    ),
    ("POST", "/score"): (Endpoint.score, {"history": _ids, "candidates": _ids, "user": _user}),
    ("POST", "/similar"): (Endpoint.similar, {"item": _id, **LIST}),
    ("GET", "/health"): (Endpoint.health, {}),
    ("GET", "/model"): (Endpoint.model, {}),
}


def _require(given: Mapping[str, Any], name: str) -> None:
    if name not in given:
        raise ValueError(f"{name} is missing")


def _listed(found: Recommendations) -> dict[str, Any]:
    entries: Sequence[Any] = found
    return {"source": found.source, "unknown": found.unknown, "recommendations": [vars(entry) for entry in entries]}


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _shown(value: object) -> str:
    """A value of a request for a message: in one line, and not all of a long one."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**18 else "a very large number"
    return text if len(text) <= 60 else text[:57] + "..."
