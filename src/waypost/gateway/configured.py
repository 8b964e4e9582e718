"""The gateway that the settings describe, for every process that has one: servers and workers alike. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields

from waypost.catalogue.configured import price_book
from waypost.gateway.gateway import Gateway
from waypost.gateway.policy import Policy
from waypost.ledger.books import Books
from waypost.providers.provider import Provider
from waypost.settings import RouteSettings, Settings


def configured_gateway(settings: Settings, providers: Mapping[str, Provider], books: Books | None) -> Gateway:
    """Routes and policies over these providers."""
    names = (*settings.routes, *settings.aliases)
    return Gateway(
        providers,
        kinds={name: provider.kind for name, provider in settings.providers.items()},
        routes={name: settings.targets(name) for name in names},
        policies={name: _policy(settings, name) for name in names},
        shares={name: settings.shares(name) for name in names},
        prices=price_book(settings),
        books=books,
        storing=names_of(settings, lambda route: route.store_bodies),
        batching=names_of(settings, lambda route: route.provider_batches),
    )


def names_of(settings: Settings, has: Callable[[RouteSettings], bool]) -> frozenset[str]:
    """The names that lead to routes of which this is true."""
    return frozenset(by_route(settings, {name for name, route in settings.routes.items() if has(route)}))


def by_route(settings: Settings, routes: Collection[str]) -> dict[str, str]:
    """These routes by the names that lead to one of them: its own and its aliases."""
    found = {name: name for name in routes}
    for alias in settings.aliases:
        target = alias
        while target in settings.aliases:
            target = settings.aliases[target]
        if target in routes:
            found[alias] = target
    return found


def _policy(settings: Settings, route: str) -> Policy:
    told = settings.policy(route).model_dump()
    return Policy(**{each.name: told[each.name] for each in fields(Policy)})
