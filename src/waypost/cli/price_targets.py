"""Which models `waypost prices` speaks about: those it was asked for, else those of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waypost.errors import ConfigurationError

if TYPE_CHECKING:
    from waypost.catalogue import PriceBook
    from waypost.settings import Settings


@dataclass(frozen=True, slots=True)
class PriceTarget:
    """A model at a provider; `provider` may also be a kind, or a vendor of the list."""

    provider: str
    kind: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


def price_targets(
    settings: Settings, models: Sequence[str], provider: str | None
) -> tuple[list[PriceTarget], PriceBook]:
    """The targets, each once, and the prices that hold for them. Raises ConfigurationError."""
    from waypost.catalogue.configured import price_book
    from waypost.catalogue.prices import VENDORS, PriceBook

    book = price_book(settings)
    if provider is not None and provider not in settings.providers:
        vendors = VENDORS.get(provider, (provider,))
        if not any(vendor in book.price_list.providers for vendor in vendors):
            known = [*settings.providers, *VENDORS, *book.price_list.providers]
            raise ConfigurationError(
                f'There is no provider, kind or vendor "{provider}".',
                hint=f"There are {', '.join(dict.fromkeys(known))}.",
            )
        other = PriceBook(vendors={provider: vendors}, read=lambda: book.price_list)
        rows = (row.id for vendor in vendors for row in book.price_list.providers.get(vendor, ()))
        named = [model.removeprefix(f"{provider}/") for model in models] or list(rows)
        return [PriceTarget(provider, provider, model) for model in named], other
    found = [target for model in models for target in _named(settings, book, model)] or (
        [] if models else list(_configured(settings))
    )
    if provider is not None:
        found = [target for target in found if target.provider == provider]
        if models and not found:
            kind = settings.providers[provider].kind
            found = [PriceTarget(provider, kind, model.removeprefix(f"{provider}/")) for model in models]
    return list(dict.fromkeys(found)), book


def _configured(settings: Settings) -> Iterator[PriceTarget]:
    """What routes and aliases lead to, and each provider's default model."""
    for name in (*settings.routes, *settings.aliases):
        yield from _targets(settings, name)
    for name in settings.providers:
        yield from _targets(settings, name)


def _targets(settings: Settings, name: str) -> Iterator[PriceTarget]:
    for target in settings.targets(name):
        model = target.model or _default_model(settings, target.provider)
        if model:
            yield PriceTarget(target.provider, settings.providers[target.provider].kind, model)


def _default_model(settings: Settings, provider: str) -> str | None:
    from waypost.providers.vendors import VENDORS
    from waypost.settings import LlamaCppSettings

    configured = settings.providers[provider]
    if isinstance(configured, LlamaCppSettings):
        return configured.model
    vendor = VENDORS.get(configured.kind)
    default = getattr(configured, "default_model", None)
    return default or (vendor.default_model if vendor is not None else None)


def _named(settings: Settings, book: PriceBook, name: str) -> Iterator[PriceTarget]:
    """A route's targets, a provider's model, or whoever sells a model of that name."""
    from waypost.catalogue.prices import LOCAL, VENDORS
    from waypost.providers.vendors import serves

    provider, slash, model = name.partition("/")
    if name in settings.routes or name in settings.aliases:
        yield from _targets(settings, name)
        return
    if slash and model and provider in settings.providers:
        yield PriceTarget(provider, settings.providers[provider].kind, model)
        return
    sellers = {key: configured.kind for key, configured in settings.providers.items()}

    def sells(provider: str, kind: str) -> bool:
        price = book.price(provider, kind, name)
        return serves(kind, name) is True or (price.rates is not None and price.source != LOCAL)

    sold = [key for key, kind in sellers.items() if sells(key, kind)]
    absent = {kind: kind for kind in VENDORS if kind not in sellers.values()}
    sold += [kind for kind in absent if serves(kind, name) is True or (not sold and sells(kind, kind))]
    sellers |= absent
    for key in sold:
        yield PriceTarget(key, sellers[key], name)
    if not sold:
        yield PriceTarget("?", "", name)
