"""A parameter that a call does not have is refused: `adjustmnt=splits`, passed over, would be answered with other prices."""

from __future__ import annotations

from difflib import get_close_matches

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from lake.errors import InvalidValueError


async def refuse_unknown(request: Request) -> None:
    """Raise InvalidValueError for a query parameter that the route asked does not take; async, for it never waits."""
    route = request.scope.get("route")
    if not request.query_params or not isinstance(route, APIRoute):
        return
    known = _names(route.dependant)
    for name in request.query_params:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known)) or 'none'}"
            raise InvalidValueError(f"no parameter {name!r} here; {hint}")


def _names(dependant: Dependant) -> set[str]:
    """Return the query parameters of a route, those of what it depends on too."""
    names = {field.alias for field in dependant.query_params}
    return names.union(*(_names(each) for each in dependant.dependencies))
