"""What the endpoint answers: from a method, a path and a body to a status and a document."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from device_runner.features import OF
from device_runner.loaded import ServedModel
from device_runner.ranker import Ranker
from device_runner.recommendations import Recommendations
from device_runner.recommender import Recommender
from device_runner.serve import fields
from device_runner.serve.fields import Check, Limits, read_fields
from device_runner.two_stage import TwoStage
from device_runner.version import __version__

# What may be in service: a recommender, a ranking model, or both, one behind the other.
Served = Recommender | Ranker | TwoStage


class RequestError(Exception):
    """A request that cannot be answered; ``status`` says why in HTTP's way."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Endpoint:
    """Answers requests with a model, which may be exchanged at any time.

    Attributes:
        served: the one in service.
        limits: of each request.
    """

    served: Served
    limits: Limits = field(default_factory=Limits)
    _requests: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """The document for a request.

        Raises:
            RequestError: there is no such path, or the request is malformed or beyond a limit.
        """
        path = path.partition("?")[0]
        served = self.served  # one for the whole request
        questions = QUESTIONS[type(served)]
        methods = {"/health": "GET", "/model": "GET", **dict.fromkeys(questions, "POST")}
        if path not in methods:
            known = ", ".join(f"{of} {name}" for name, of in methods.items())
            raise RequestError(HTTPStatus.NOT_FOUND, f"no such path; there are {known}")
        if method != methods[path]:
            raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} is for {methods[path]}")
        with self._lock:
            self._requests += 1
        if path == "/health":
            return {"status": "ok", **_health(served), "requests": self._requests}
        if path == "/model":
            limits = {name: getattr(self.limits, name) for name in ("body_bytes", "k", "ids", "connections")}
            return {**_described(served), "edgerec": __version__, "limits": limits}
        question = questions[path]
        try:
            given = read_fields(body, question.fields, self.limits)
            if missing := [name for name in question.required if name not in given]:
                raise ValueError(f"{missing[0]} is missing")
            return question.answer(served, given)
        except (TypeError, ValueError) as error:
            raise RequestError(HTTPStatus.BAD_REQUEST, str(error)) from None


@dataclass(frozen=True)
class Question:
    """What may be asked by POST.

    Attributes:
        answer: the document for the model in service and the checked fields.
        fields: how each is checked, by name.
        required: those that must be there.
    """

    answer: Callable[[Any, dict[str, Any]], dict[str, Any]]
    fields: Mapping[str, Check]
    required: tuple[str, ...]


def _listed(found: Recommendations) -> dict[str, Any]:
    listed = [{**vars(entry), "score": _finite(entry.score)} for entry in found]
    return {"source": found.source, "unknown": found.unknown, "recommendations": listed}


def _scores(found: Sequence[float]) -> dict[str, Any]:
    return {"scores": [_finite(score) for score in found]}


def _finite(score: float) -> float | None:
    """The score, or ``None`` for one that JSON has no number for."""
    return score if math.isfinite(score) else None


LIST: dict[str, Check] = {"k": fields.count, "exclude": fields.ids, "allow": fields.ids, "at_most": fields.caps}
HISTORY: dict[str, Check] = {"history": fields.ids, "history_values": fields.numbers}
SIMILAR = {"item": fields.item, **LIST}
RANKED = Question(
    lambda ranker, given: _scores(ranker.score(**{"user": {}, **given})),
    {
        "user": fields.features, "candidates": fields.candidates, "context": fields.features, **HISTORY,
        "retrieval_scores": fields.numbers,
    },
    ("candidates",),
)  # fmt: skip
QUESTIONS: dict[type, dict[str, Question]] = {
    Recommender: {
        "/recommend": Question(
            lambda recommender, given: _listed(recommender.recommend(**given)),
            {
                "history": fields.ids, **LIST, "exclude_history": fields.flag, "user": fields.values,
                "explain": fields.flag,
            },
            ("history",),
        ),
        "/score": Question(
            lambda recommender, given: _scores(recommender.score(**given)),
            {"history": fields.ids, "candidates": fields.ids, "user": fields.values},
            ("history", "candidates"),
        ),
        "/similar": Question(lambda recommender, given: _listed(recommender.similar(**given)), SIMILAR, ("item",)),
    },
    Ranker: {"/score": RANKED},
    TwoStage: {
        "/recommend": Question(
            lambda both, given: _listed(both.recommend(**given)),
            {
                **HISTORY, **LIST, "exclude_history": fields.flag, "user": fields.features,
                "context": fields.features,
            },
            ("history",),
        ),
        "/score": Question(lambda both, given: RANKED.answer(both.ranker, given), RANKED.fields, RANKED.required),
        "/similar": Question(lambda both, given: _listed(both.recommender.similar(**given)), SIMILAR, ("item",)),
    },
}  # fmt: skip


def _health(served: Served) -> dict[str, Any]:
    """Which model is in service, and of two stages their times."""
    if isinstance(served, TwoStage):
        return {**_health(served.recommender), "ranker": _health(served.ranker), "times": served.report}
    return {"model": served.bundle.name, "fingerprint": served.bundle.fingerprint}


def _described(served: Served) -> dict[str, Any]:
    """What there is to know of the model in service."""
    if isinstance(served, TwoStage):
        return {**_described(served.recommender), "ranker": _described(served.ranker), "candidates": served.candidates}
    found = _bundle(served)
    if isinstance(served, Ranker):
        given = [feature for feature in served.features if feature.type != "items"]
        return {**found, "features": {of: {f.name: f.describe() for f in given if f.of == of} for of in OF}}
    bundle = served.bundle
    return {
        **found,
        "exclude_history": bundle.exclude_history,
        "user_features": {feature.name: feature.describe() for feature in bundle.user_features},
        "attributes": sorted(bundle.attributes),
    }


def _bundle(served: ServedModel[Any]) -> dict[str, Any]:
    bundle = served.bundle
    return {
        "name": bundle.name,
        "scheme": bundle.scheme,
        "fingerprint": bundle.fingerprint,
        "backend": served.backend,
        "contract": served.contract.to_json(),
        "titles": bool(bundle.titles),
    }
