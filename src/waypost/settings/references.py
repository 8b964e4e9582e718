"""Names in settings that point at other names: providers, routes, aliases and the targets they lead to.

Works on plain values, so that it can speak about a file whose other parts are wrong as well. A target without
"/" names a provider (its default model), a route or an alias; one word never means two of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import TypeAlias

from waypost.settings.problems import KeyPath, key_text, nearest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
DEFAULT_ROUTE = "default"

Finding: TypeAlias = tuple[KeyPath, str]
"""The key at fault and a sentence about it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A provider's configured name and a model; None is the provider's default model."""

    provider: str
    model: str | None = None

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}" if self.model else self.provider


def _target(text: str) -> Target:
    provider, _, model = text.partition("/")
    return Target(provider, model or None)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one settings file and what each leads to."""

    providers: frozenset[str]
    routes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """For a route, one number for each of its targets; a route without has equal ones."""

    def leads_to(self, name: str) -> Sequence[str]:
        """What a route or alias stands for; empty for anything else."""
        if name in self.aliases:
            return (self.aliases[name],)
        return self.routes.get(name, ())

    def resolve(self, name: str) -> tuple[Target, ...]:
        """The targets behind a name that `findings` had nothing to say about, each once, in order."""
        targets: dict[Target, None] = {}
        waiting, seen = [name], set()
        while waiting:
            step = waiting.pop()
            following = self.leads_to(step)
            if following and step not in seen:
                seen.add(step)
                waiting.extend(reversed(following))
            elif not following:
                targets[_target(step)] = None
        return tuple(targets)

    def shares(self, name: str) -> dict[Target, float]:
        """What part of the requests for `name` each target gets by weight. Sum 1; in the order of `resolve`."""
        order = self._reachable(name)
        shares = {**dict.fromkeys(order, 0.0), name: 1.0}
        for step in order:
            following = self.leads_to(step)
            weights = self.weights.get(step) or (1,) * len(following)
            for target, weight in zip(following, weights, strict=True):
                shares[target] += shares[step] * weight / sum(weights)
        targets = dict.fromkeys(self.resolve(name), 0.0)
        for step, share in shares.items():
            if not self.leads_to(step):
                targets[_target(step)] += share
        return targets

    def _reachable(self, name: str) -> tuple[str, ...]:
        """`name` and all it leads to, each after everything that leads to it."""
        graph: dict[str, Sequence[str]] = {}
        waiting = [name]
        while waiting:
            step = waiting.pop()
            if step not in graph:
                graph[step] = self.leads_to(step)
                waiting.extend(graph[step])
        return tuple(reversed(list(TopologicalSorter(graph).static_order())))

    def findings(self) -> list[Finding]:
        """Everything wrong with these names."""
        return [*self._bad_names(), *self._shadowing(), *self._dangling(), *self._cycles()]

    def _bad_names(self) -> Iterator[Finding]:
        groups: dict[str, Sequence[str]] = {
            "providers": sorted(self.providers),
            "routes": list(self.routes),
            "aliases": list(self.aliases),
        }
        for group, names in groups.items():
            for name in names:
                if not NAME.fullmatch(name):
                    yield (group, name), f'the name "{name}" in {group} may hold only letters, digits, and . _ : -'

    def _shadowing(self) -> Iterator[Finding]:
        for name in self.aliases:
            if name in self.routes:
                yield ("aliases", name), f"aliases.{name} has the name of a route; choose another name"
            elif name in self.providers:
                yield ("aliases", name), f"aliases.{name} has the name of a provider; choose another name"
        for name in sorted(self.providers & {*self.routes, DEFAULT_ROUTE}):
            yield ("providers", name), f"providers.{name} has the name of a route; choose another name"

    def _dangling(self) -> Iterator[Finding]:
        for path, target in self._pointers():
            name, slash, model = target.partition("/")
            known = self.providers if slash else {*self.providers, *self.routes, *self.aliases, DEFAULT_ROUTE}
            if name not in known:
                kind = "unknown provider" if slash else "unknown provider, route or alias"
                guess = nearest(name, sorted(known))
                mend = f"did you mean {guess}?" if guess else f"the providers are {', '.join(sorted(self.providers))}"
                yield path, f'{key_text(path)} names the {kind} "{name}"; {mend}'
            elif slash and not model:
                yield (
                    path,
                    f'{key_text(path)} is "{target}", which names no model; write {name}/<model>, or {name} alone',
                )

    def _pointers(self) -> Iterator[tuple[KeyPath, str]]:
        for route, targets in self.routes.items():
            for index, target in enumerate(targets):
                yield ("routes", route, "targets", index), target
        for alias, target in self.aliases.items():
            yield ("aliases", alias), target

    def _cycles(self) -> Iterator[Finding]:
        finished: set[str] = set()
        for name in (*self.routes, *self.aliases):
            cycle = () if name in finished else self._cycle_from(name, finished)
            if cycle:
                finished.update(cycle)
                group = "aliases" if cycle[0] in self.aliases else "routes"
                yield (group, cycle[0]), f"{group}.{cycle[0]} leads back to itself: {' -> '.join(cycle)}"

    def _cycle_from(self, start: str, finished: set[str]) -> tuple[str, ...]:
        """The first cycle on the way from `start`, or nothing. Iterative: a chain may be as long as the file."""
        trail = {start: iter(self.leads_to(start))}
        while trail:
            name = next(reversed(trail))
            step = next(trail[name], None)
            if step is None:
                finished.add(name)
                del trail[name]
            elif step in trail:
                names = list(trail)
                return (*names[names.index(step) :], step)
            elif step not in finished:
                trail[step] = iter(self.leads_to(step))
        return ()
