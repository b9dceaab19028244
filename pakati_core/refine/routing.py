"""Which repair answers which fault: the documents' table, made explicit."""

from __future__ import annotations

from ..judge import Check, Verdict
from .state import RefinementStrategy, Route, State

# kind of a failed question -> route, where it belongs to a region and where it belongs to the whole picture
TABLE: dict[str, tuple[Route, Route]] = {
    "object": (Route.inpaint, Route.resample),
    "count": (Route.inpaint, Route.resample),
    "attribute": (Route.inpaint, Route.inpaint),
    "text": (Route.inpaint, Route.inpaint),
    "artefact": (Route.inpaint, Route.inpaint),
    "position": (Route.structure, Route.structure),
    "relation": (Route.structure, Route.structure),
    "style": (Route.style, Route.style),
    "ambiguity": (Route.prompt, Route.prompt),
}
# Where the engine lacks a route.
INSTEAD = {
    Route.structure: Route.resample, Route.style: Route.prompt, Route.inpaint: Route.resample,
    Route.prompt: Route.resample,
}  # fmt: skip
ORDER = list(Route)  # of two routes that weigh the same, the earlier one
TWICE = 2  # failures in a row after which a way is left
Way = tuple[str, tuple[str, ...], tuple[str, ...]]  # route, regions, ids of the questions


def route_for(check: Check, available: tuple[str, ...]) -> Route:
    route = TABLE[check.kind][check.region is None]
    while route not in available and route in INSTEAD:
        route = INSTEAD[route]
    return route


def _cause(check: Check, verdict: Verdict) -> Check:
    """What has to be repaired for this one: a square that is not there is not made blue, but painted."""
    wrong, seen = {other.id: other for other in verdict.failed}, {check.id}
    while missing := [need for need in check.needs if need in wrong and need not in seen]:
        check = wrong[missing[0]]
        seen.add(check.id)
    return check


def next_way(state: State, verdict: Verdict) -> Way:
    """The first way, gravest first, that has not just failed twice in a row."""
    ways = [*_ways(state, verdict), *_last_resorts(state, verdict)]
    tired = _tired(state)
    return next((way for way in ways if (way[0], way[1]) != tired), ways[0])


def _ways(state: State, verdict: Verdict) -> list[Way]:
    failed, available = verdict.failed, state.config.routes
    if not failed:
        return []
    by_route: dict[Route, list[Check]] = {}
    for check in failed:
        by_route.setdefault(route_for(_cause(check, verdict), available), []).append(check)
    if 2 * len(failed) > len(verdict.checks) and Route.resample in available and not _resampled_in_vain(state):
        by_route = {Route.resample: list(failed)} | {r: c for r, c in by_route.items() if r != Route.resample}
        ordered = list(by_route)
    else:
        weight = {route: sum(verdict.severity(check) for check in checks) for route, checks in by_route.items()}
        ordered = sorted(by_route, key=lambda route: (-weight[route], ORDER.index(route)))
    routes = _by_strategy(ordered, state)
    return [way for route in routes for way in _of_route(route, by_route.get(route, failed), state)]


def _by_strategy(ordered: list[Route], state: State) -> list[Route]:
    strategy, rest = state.config.strategy, [route for route in ordered if route != Route.prompt]
    if Route.prompt not in state.config.routes:
        return ordered
    prompt_now = {
        RefinementStrategy.PROMPT_FIRST: not any(made.attempt.route == Route.prompt for made in state.passes),
        RefinementStrategy.HYBRID: len(state.passes) % 2 == 1,
    }
    if strategy == RefinementStrategy.IMAGE_FIRST:
        return [*rest, Route.prompt]
    return [Route.prompt, *rest] if prompt_now.get(RefinementStrategy(strategy)) else ordered


def _of_route(route: Route, checks: list[Check] | tuple[Check, ...], state: State) -> list[Way]:
    """Inpainting: all failing regions at once, then each by itself; where one can be enlarged, that comes first."""
    ids = tuple(sorted(check.id for check in checks))
    if route != Route.inpaint:
        return [(route, (), ids)]
    regions = tuple(dict.fromkeys(check.region for check in checks if check.region is not None))
    together = (Route.inpaint, tuple(sorted(regions)), ids)
    enlarged = Route.detail in state.config.routes
    alone = [
        (
            Route.detail if enlarged else Route.inpaint,
            (region,),
            tuple(sorted(check.id for check in checks if check.region == region)),
        )
        for region in sorted(regions, key=lambda region: _times(state, region))
    ]
    if enlarged:
        return [*alone, together]
    return [together, *(alone if len(regions) > 1 else [])]


def _times(state: State, region: str) -> int:
    """How often this region was repainted by itself."""
    return sum(made.attempt.regions == (region,) for made in state.passes)


def _resampled_in_vain(state: State) -> bool:
    last = next((made for made in reversed(state.passes[1:]) if made.attempt.route == Route.resample), None)
    return last is not None and not last.accepted


def _last_resorts(state: State, verdict: Verdict) -> list[Way]:
    ids = tuple(sorted(check.id for check in verdict.failed))
    return [(route, (), ids) for route in (Route.resample, Route.prompt) if route in state.config.routes] or [
        (Route.resample, (), ids)
    ]


def _tired(state: State) -> tuple[str, tuple[str, ...]] | None:
    """The way of the last two passes, where neither made anything better."""
    last = state.passes[-TWICE:]
    if len(last) < TWICE or any(made.accepted for made in last) or len({made.attempt.way for made in last}) > 1:
        return None
    return last[-1].attempt.way


def strength_of(state: State, regions: tuple[str, ...] = ()) -> tuple[float, float]:
    """Strength and guidance factor of the next edit of these regions, until the loop begins anew.

    Both fall with each edit that made them better: what is nearly right is changed less, what is still wrong is not.
    """
    edits = 0
    for made in state.passes:
        same = made.attempt.regions == regions or bool(set(regions) & set(made.attempt.regions))
        if made.attempt.parent is None:
            edits = 0 if made.accepted else edits
        elif made.accepted and same:
            edits += 1
    denoise = state.config.denoise
    return denoise[min(edits, len(denoise) - 1)], max(0.7, 1 - 0.05 * edits)


def seed_of(seed: int, index: int) -> int:
    """splitmix64: far from its neighbours, for fixed seeds thicken what the last pass drew."""
    mask = 2**64 - 1
    z = (seed + (index + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) & (2**63 - 1)
