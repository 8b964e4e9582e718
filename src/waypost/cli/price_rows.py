"""Prices and their changes as rows of text and as JSON. Unknown is written as unknown, never as 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from waypost.catalogue import PriceBook
    from waypost.catalogue.price_changes import RateChange, RateKey
    from waypost.catalogue.rates import Period, RateCard
    from waypost.cli.price_targets import PriceTarget

COLUMNS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
OTHERS = ("reasoning", "input_audio", "output_audio", "web_search")
MICRO = 1_000_000


def usd(micro_usd: int | None) -> str:
    """An amount with as many digits as it has: 0.075; nothing for None."""
    if micro_usd is None:
        return ""
    whole, part = divmod(micro_usd, MICRO)
    return f"{whole}.{part:06}".rstrip("0").rstrip(".")


def shown_rows(targets: Sequence[PriceTarget], book: PriceBook, at_s: float) -> list[tuple[str, ...]]:
    """A heading, and for each target its price and what it is for longer prompts and at other tiers."""
    rows: list[tuple[str, ...]] = [("model", *COLUMNS, "also", "source")]
    for target in targets:
        rows += _rows(target, book, at_s)
    return rows


def _rows(target: PriceTarget, book: PriceBook, at_s: float) -> Iterator[tuple[str, ...]]:
    from waypost.catalogue.rates import FREE

    price = book.price(target.provider, target.kind, target.model)
    source, empty = price.source or "", ("",) * (len(COLUMNS) - 1)
    period = price.rates.period(None, at_s) if price.rates is not None else None
    if price.rates is None or period is None:
        yield str(target), "unknown", *empty, "", source
    elif price.rates is FREE:
        yield str(target), "free", *empty, "", source
    else:
        yield from _steps(str(target), period, source)
        for name in price.rates.tiers:
            tier = price.rates.period(name, at_s)
            yield from _steps(f"  {name}", tier, "") if tier is not None else ()


def _steps(title: str, period: Period, source: str) -> Iterator[tuple[str, ...]]:
    for card in period.cards:
        name = (
            title if not card.over else f"  {title.strip() + ' ' if title[0] == ' ' else ''}over {card.over:,} tokens"
        )
        yield name, *(usd(getattr(card, rate)) for rate in COLUMNS), _also(card), "" if card.over else source


def _also(card: RateCard) -> str:
    return ", ".join(f"{name} {usd(getattr(card, name))}" for name in OTHERS if getattr(card, name) is not None)


def shown_json(target: PriceTarget, book: PriceBook, at_s: float) -> dict[str, Any]:
    """A target's price: null is unknown."""
    from waypost.catalogue.prices import CONFIGURED
    from waypost.catalogue.rates import FREE
    from waypost.catalogue.table import price_json

    price = book.price(target.provider, target.kind, target.model)
    published = price.source == str(book.price_list.source)
    return {
        "provider": target.provider,
        "kind": target.kind,
        "model": target.model,
        "free": price.rates is FREE,
        "prices": None if price.rates is None else price_json(price.rates, at_s),
        "source": CONFIGURED if price.source == CONFIGURED else price.source,
        "date": book.price_list.source.date if published else None,
    }


def change_rows(changes: Sequence[RateChange]) -> list[tuple[str, ...]]:
    """A heading, and a row for each amount that differs."""
    rows: list[tuple[str, ...]] = [("model", "rate", "before", "after", "difference", "percent")]
    for change in changes:
        known = change.before is not None and change.after is not None
        difference = usd_difference(change.before, change.after) if known else ""
        percent = "" if change.percent is None else f"{change.percent:+.1f} %"
        name = f"{change.seller}/{change.model}"
        rows.append((name, _rate_name(change.key), usd(change.before), usd(change.after), difference, percent))
    return rows


def usd_difference(before: int | None, after: int | None) -> str:
    """With its sign."""
    difference = (after or 0) - (before or 0)
    return f"{'-' if difference < 0 else '+'}{usd(abs(difference))}"


def _rate_name(key: RateKey) -> str:
    tier, over, name = key
    return " ".join([*([tier] if tier else []), name, *([f"over {over:,}"] if over else [])])


def change_json(change: RateChange) -> dict[str, Any]:
    """Amounts in US dollars; null is none."""
    tier, over, name = change.key
    return {
        "provider": change.seller,
        "model": change.model,
        "tier": tier,
        "over_tokens": over,
        "rate": name,
        "before_usd": None if change.before is None else change.before / MICRO,
        "after_usd": None if change.after is None else change.after / MICRO,
        "percent": None if change.percent is None else round(change.percent, 2),
    }
