"""Model groups as routes: who is asked in which share, who after them, and how hard a route tries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from waypost.litellm.deployments import Deployment, seconds
from waypost.litellm.report import Report
from waypost.litellm.source import Source
from waypost.settings.references import NAME

MOST_ATTEMPTS: Final = 20
MOST_RETRIES: Final = 10
MOST_WEIGHT: Final = 1000
DEFAULT_ATTEMPTS: Final = 4
DEFAULT_TOTAL_S: Final = 600
DEFAULT_TTL_S: Final = 300
STRATEGIES: Final[Mapping[str, tuple[str, str | None]]] = {
    "simple-shuffle": ("weighted", None),
    "latency-based-routing": ("least_latency", None),
    "least-busy": ("weighted", "targets are drawn by their weights, and not by how many calls they have"),
    "usage-based-routing": ("weighted", "targets are drawn by their weights, and not by their use"),
    "usage-based-routing-v2": ("weighted", "targets are drawn by their weights, and not by their use"),
    "cost-based-routing": ("priority", "targets are asked in the order of the file: put the cheapest first"),
}
FALLBACKS: Final[Mapping[str, str | None]] = {
    "fallbacks": None,
    "context_window_fallbacks": "these targets are asked after other failures too",
    "content_policy_fallbacks": "these targets are asked after other failures too",
}


@dataclass(slots=True)
class Rules:
    """What holds for every route."""

    balance: str = "weighted"
    retries: int | None = None
    total_s: float | None = None
    first_token_s: float | None = None
    backoff_s: float | None = None
    drop: bool = False
    cache: dict[str, Any] | None = None
    fallbacks: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Kind of fallback -> model group, or "*" for all -> model groups."""


def read_rules(source: Source, report: Report) -> Rules:
    """Take them out of the file's sections."""
    rules = Rules()
    strategy = str(source.either("routing_strategy") or "simple-shuffle")
    rules.balance, note = STRATEGIES.get(
        strategy, ("weighted", f"Waypost has no strategy {strategy}; weights are used")
    )
    if note:
        report.changed("router_settings.routing_strategy", note)
    rules.retries = _retries(source.either("num_retries"), report)
    timeout_s = seconds(source.either("timeout"), "router_settings.timeout", report)
    request_timeout_s = seconds(source.library.pop("request_timeout", None), "litellm_settings.request_timeout", report)
    rules.total_s = timeout_s if timeout_s is not None else request_timeout_s
    stream_timeout = source.either("stream_timeout")
    rules.first_token_s = seconds(stream_timeout, "router_settings.stream_timeout", report)
    retry_after = source.either("retry_after")
    rules.backoff_s = seconds(retry_after, "router_settings.retry_after", report) if retry_after else None
    rules.drop = source.library.pop("drop_params", False) is True
    rules.cache = _cache(source, report)
    for kind in FALLBACKS:
        rules.fallbacks[kind] = _fallbacks(source.either(kind), kind, report)
    defaults = source.either("default_fallbacks")
    if isinstance(defaults, list):
        rules.fallbacks["fallbacks"].setdefault("*", [str(name) for name in defaults])
    return rules


def _retries(value: Any, report: Report) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        if value is not None:
            report.left_out("router_settings.num_retries", "it is no whole number")
        return None
    if value > MOST_RETRIES:
        report.changed("router_settings.num_retries", f"a target is asked again {MOST_RETRIES} times at most")
    return min(value, MOST_RETRIES)


def _cache(source: Source, report: Report) -> dict[str, Any] | None:
    wanted, parameters = source.library.pop("cache", None), source.library.pop("cache_params", None) or {}
    if wanted is not True or not isinstance(parameters, dict):
        return None
    kinds = parameters.get("supported_call_types")
    if parameters.get("mode") == "default_off":
        report.left_out("litellm_settings.cache", "callers cannot ask for the cache; give it to a route: cache")
        return None
    if isinstance(kinds, list) and not {"acompletion", "completion"} & set(kinds):
        report.left_out("litellm_settings.cache", "conversations alone are kept")
        return None
    kind = parameters.get("type", "local")
    same = "" if kind == "local" else f", and not {kind}"
    text = f"each process keeps equal requests of a key in its memory{same}; answers are not shared between keys"
    report.changed("litellm_settings.cache", text)
    ttl_s = seconds(parameters.get("ttl"), "litellm_settings.cache_params.ttl", report)
    return {"ttl_s": ttl_s or DEFAULT_TTL_S}


def _fallbacks(value: Any, kind: str, report: Report) -> dict[str, list[str]]:
    """`[{group: [others]}]`."""
    groups: dict[str, list[str]] = {}
    for entry in value if isinstance(value, list) else []:
        for group, others in entry.items() if isinstance(entry, dict) else ():
            names = [other for other in others if isinstance(other, str)] if isinstance(others, list) else []
            groups.setdefault(str(group), []).extend(names)
            if isinstance(others, list) and len(names) < len(others):
                report.left_out(f"{kind}.{group}", "a fallback with parameters of its own")
    return groups


def route_name(name: str) -> str:
    """A name that routes may have."""
    if NAME.fullmatch(name):
        return name
    cleaned = re.sub(r"[^A-Za-z0-9._:-]+", "-", name).strip("-._:")
    return cleaned or "route"


@dataclass(frozen=True, slots=True)
class Groups:
    """The deployments by the name that callers ask for, and by the id that they may have."""

    by_name: Mapping[str, Sequence[Deployment]]
    by_id: Mapping[str, Deployment]

    def named(self, name: str) -> Sequence[Deployment]:
        """Those that a fallback stands for; empty if there is no such."""
        if name in self.by_name:
            return self.by_name[name]
        return [self.by_id[name]] if name in self.by_id else ()


def route_of(name: str, groups: Groups, rules: Rules, report: Report) -> dict[str, Any]:
    """A route's entry in our settings."""
    own = list(groups.by_name[name])
    later, fall_back_on = _later(name, groups, rules, report)
    orders = [deployment.order for deployment in own]
    policy: dict[str, Any] = {}
    if any(order is not None for order in orders):
        own.sort(key=lambda each: each.order if isinstance(each.order, int) else MOST_WEIGHT)
        if len(set(orders)) < len(orders):
            report.changed(f"{own[0].where}.order", "targets of the same order are asked one after the other")
    elif rules.balance != "priority" and len({each.target for each in own}) > 1:
        policy["balance"] = rules.balance
    targets = _targets(own, later, weighted="balance" in policy)
    policy |= _policy(rules, own, len(targets))
    if fall_back_on != ["context_length"]:
        policy["fall_back_on"] = fall_back_on
    route: dict[str, Any] = {"targets": targets}
    if policy:
        route["policy"] = policy
    if rules.cache is not None:
        route["cache"] = dict(rules.cache)
    return route


def _later(name: str, groups: Groups, rules: Rules, report: Report) -> tuple[list[Deployment], list[str]]:
    """Whom the fallbacks add, and the refusals after which they are asked."""
    later: list[Deployment] = []
    fall_back_on = ["context_length"]
    for kind, note in FALLBACKS.items():
        named = rules.fallbacks[kind]
        others = named.get(name) or named.get("*") or []
        for other in others:
            found = groups.named(other)
            if not found and other != name:
                report.left_out(f"{kind}.{name}", f"{other} was not taken over, or is not in the file")
            later += found
        if others and kind == "content_policy_fallbacks":
            fall_back_on.append("content_policy")
        if others and note:
            report.changed(f"{kind}.{name}", note)
    return later, fall_back_on


def _targets(own: Sequence[Deployment], later: Sequence[Deployment], *, weighted: bool) -> list[Any]:
    """Each once. With weights, those of fallbacks are 0: they are asked after all others."""
    shares = _weights([deployment.weight for deployment in own]) if weighted else [1] * len(own)
    sums: dict[str, int] = {}
    for deployment, share in zip(own, shares, strict=True):
        sums[deployment.target] = min(MOST_WEIGHT, sums.get(deployment.target, 0) + share)
    for deployment in later:
        sums.setdefault(deployment.target, 0 if weighted else 1)
    return [target if weight == 1 else {"target": target, "weight": weight} for target, weight in sums.items()]


def _weights(written: Sequence[Any]) -> list[int]:
    """Whole numbers up to a thousand, in the proportions that are written."""
    numbers = [float(each) if isinstance(each, int | float) and each > 0 else 0.0 for each in written]
    most = max(numbers, default=0.0)
    if not most:
        return [1] * len(numbers)
    if most <= MOST_WEIGHT and all(number == int(number) for number in numbers):
        return [int(number) for number in numbers]
    return [max(1, round(number * MOST_WEIGHT / most)) if number else 0 for number in numbers]


def _policy(rules: Rules, own: Sequence[Deployment], targets: int) -> dict[str, Any]:
    policy: dict[str, Any] = {}
    if rules.retries is not None:
        policy["max_retries"] = rules.retries
    attempts = min(
        MOST_ATTEMPTS, max(DEFAULT_ATTEMPTS, targets * (1 + (1 if rules.retries is None else rules.retries)))
    )
    if attempts != DEFAULT_ATTEMPTS:
        policy["max_attempts"] = attempts
    longest_s = max([rules.total_s or 0, *(each.provider.get("deadlines", {}).get("total_s", 0) for each in own)])
    if longest_s > DEFAULT_TOTAL_S:
        policy["total_s"] = longest_s
    streams = [each.stream_timeout_s for each in own if each.stream_timeout_s is not None]
    first_token_s = max(streams) if streams else rules.first_token_s
    if first_token_s is not None:
        policy["first_token_s"] = first_token_s
    if rules.backoff_s is not None:
        policy["backoff_first_s"] = rules.backoff_s
    if rules.drop:
        policy["unsupported"] = "drop"
    return policy
