"""JSON that came from outside: parsed and taken apart with one clear refusal for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn, cast

from serve.limits import Refusal


def load_json(head: bytes) -> Any:
    def no_constant(name: str) -> NoReturn:
        refuse(f"the JSON part holds {name}, which is not JSON")

    try:
        return json.loads(head, parse_constant=no_constant)
    except (ValueError, RecursionError):
        refuse("the request is not JSON (or its JSON part is longer than the header says)")


def an_object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        refuse(f"{what}: wanted a JSON object, got {short(value)}")
    return cast("dict[str, Any]", value)


def a_list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        refuse(f"{what}: wanted a JSON list that is not empty, got {short(value)}")
    return cast("list[Any]", value)


def flag(values: dict[str, Any], name: str, default: bool) -> bool:
    value = values.get(name, default)
    if not isinstance(value, bool):
        refuse(f"{name} is {short(value)}; wanted true or false")
    return value


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def listing(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def refuse(message: str) -> NoReturn:
    raise Refusal(400, message)
