"""The fields of a request's JSON document, checked by type and size before a model sees them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from device_runner.errors import shown

# Digits of a whole number; no id and no feature needs as many, and Python takes long to read far more.
MAX_DIGITS = 400
# Categories of one feature, in a list.
MAX_CATEGORIES = 100


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may cost.

    Attributes:
        body_bytes: size of a request's body.
        k: items of a list.
        ids: ids of each list of a request (history, exclude, allow, candidates).
        id_length: characters of an id, or of a name or a text value of a feature.
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


# The name of a field, its value and the limits; raises TypeError or ValueError.
Check = Callable[[str, Any, Limits], None]


class NumberError(ValueError):
    """A number of the document cannot be read."""


def read_fields(body: bytes, checks: Mapping[str, Check], limits: Limits) -> dict[str, Any]:
    """The fields of a body, which are checked; those that are ``null`` count as absent.

    Raises:
        TypeError, ValueError: the body is not a JSON object, or a field is unknown or malformed; says which.
    """
    try:
        document = json.loads(body, parse_constant=_refuse_constant, parse_int=_whole)
    except NumberError:
        raise
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise TypeError(f"the body is not a JSON object; it may have {', '.join(checks)}")
    if unknown := set(document) - set(checks):
        raise ValueError(f"unknown field {shown(min(unknown))}; there are {', '.join(checks)}")
    given = {name: value for name, value in document.items() if value is not None}
    for name, value in given.items():
        checks[name](name, value, limits)
    return given


def ids(name: str, value: Any, limits: Limits) -> None:
    _list(name, value, "item ids", limits)
    for one in value:
        item(name, one, limits)


def item(name: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} has {shown(value)}, but item ids are strings")
    if len(value) > limits.id_length:
        raise ValueError(f"{name} has an id of {len(value):,} characters, the limit is {limits.id_length:,}")


def candidates(name: str, value: Any, limits: Limits) -> None:
    """Item ids, or objects with an id and values of features."""
    _list(name, value, "item ids, or of objects with an item id", limits)
    for one in value:
        if isinstance(one, dict):
            features(name, one, limits)
        else:
            item(name, one, limits)


def numbers(name: str, value: Any, limits: Limits) -> None:
    """Numbers, or null where there is none; which they are is looked at with the model."""
    _list(name, value, "numbers", limits)


def count(name: str, value: Any, limits: Limits) -> None:
    if type(value) is not int:
        raise TypeError(f"{name} is {shown(value)}, not a whole number")
    if not 1 <= value <= limits.k:
        raise ValueError(f"{name} is {shown(value)}; it may be from 1 to {limits.k:,}")


def flag(name: str, value: Any, limits: Limits) -> None:
    if type(value) is not bool:
        raise TypeError(f"{name} is {shown(value)}, not true or false")


def values(name: str, value: Any, limits: Limits) -> None:
    """Texts and numbers by name."""
    _object(name, value, limits)
    for feature, one in value.items():
        _value(name, feature, one, limits)


def features(name: str, value: Any, limits: Limits) -> None:
    """Texts, numbers and lists of categories by name."""
    _object(name, value, limits)
    for feature, given in value.items():
        if isinstance(given, list) and len(given) > MAX_CATEGORIES:
            raise ValueError(f"{name} has {len(given):,} values of {shown(feature)}, the limit is {MAX_CATEGORIES}")
        for one in given if isinstance(given, list) else [given]:
            _value(name, feature, one, limits)


def caps(name: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object of attributes and numbers")
    for attribute, most in value.items():
        count(f"{name} of {shown(attribute)}", most, limits)


def _list(name: str, value: Any, what: str, limits: Limits) -> None:
    if not isinstance(value, list):
        raise TypeError(f"{name} is not a list of {what}")
    if len(value) > limits.ids:
        raise ValueError(f"{name} has {len(value):,} entries, the limit is {limits.ids:,}")


def _object(name: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object of features and values")
    if any(len(feature) > limits.id_length for feature in value):
        raise ValueError(f"{name} has a text of more than {limits.id_length:,} characters")


def _value(name: str, feature: str, value: Any, limits: Limits) -> None:
    if not isinstance(value, str | int | float | bool | None):
        raise TypeError(f"{name} has {shown(value)} for {shown(feature)}, not a text or a number")
    if isinstance(value, str) and len(value) > limits.id_length:
        raise ValueError(f"{name} has a text of more than {limits.id_length:,} characters")


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise NumberError(f"the body has a number of {len(text):,} digits; at most {MAX_DIGITS} are read")
    return int(text)


def _refuse_constant(name: str) -> Any:
    raise NumberError(f"{name} is not a number of JSON; leave out what is unknown, or send null")
