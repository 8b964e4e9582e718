"""A list of published prices, as data: the packaged `prices.json`, or a newer one that was put into the data folder.

A list is read whole and checked while it is read. The invariant: a list that has anything wrong with it is not used at
all, and what it does not name has no price.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec

from waypost.catalogue.rates import Period, RateCard, Rates

logger = logging.getLogger("waypost.catalogue")

LIST_FILE: Final = "prices.json"
MAX_LIST_BYTES: Final = 20_000_000
MAX_RATE: Final = 10**13
"""Ten million dollars for a million tokens: more is a slip of the pen."""

Rate: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_RATE)] | None


@dataclass(frozen=True, slots=True)
class PriceSource:
    """Where the prices come from: the package and its version, the day it was published, the list's SHA-256."""

    name: str
    version: str
    date: str
    sha256: str

    def __str__(self) -> str:
        """Short enough for a row: "genai-prices 0.2.3 2026-11-10 sha256:0123abcd"."""
        named = f"{self.name} {self.version}".strip()
        return f"{named} {self.date} sha256:{self.sha256[:8]}"

    def is_newer_than(self, other: PriceSource) -> bool:
        """By the version where both are of one package, else by the day."""
        if self.name == other.name and self.version and other.version:
            return _numbers(self.version) > _numbers(other.version)
        return self.date > other.date


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


class Clause(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=lambda name: name.rstrip("_")):
    """One test of a model's name, in small letters."""

    equals: str | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    contains: str | None = None
    regex: str | None = None
    or_: tuple[Clause, ...] | None = None
    and_: tuple[Clause, ...] | None = None

    def __post_init__(self) -> None:
        """Exactly one of them."""
        if sum(getattr(self, name) is not None for name in self.__struct_fields__) != 1:
            raise ValueError("a match holds exactly one test")

    def fits(self, name: str) -> bool:
        """Is it this model's name?"""
        if self.equals is not None:
            return name == self.equals.lower()
        if self.starts_with is not None:
            return name.startswith(self.starts_with.lower())
        if self.ends_with is not None:
            return name.endswith(self.ends_with.lower())
        if self.contains is not None:
            return self.contains.lower() in name
        if self.regex is not None:
            return re.search(self.regex, name) is not None
        if self.or_ is not None:
            return any(clause.fits(name) for clause in self.or_)
        return all(clause.fits(name) for clause in self.and_ or ())


class CardRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A RateCard."""

    over: Annotated[int, msgspec.Meta(ge=0)] = 0
    input: Rate = None
    cache_read: Rate = None
    cache_write_5m: Rate = None
    cache_write_1h: Rate = None
    input_audio: Rate = None
    output: Rate = None
    reasoning: Rate = None
    output_audio: Rate = None
    web_search: Rate = None


class PeriodRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=lambda name: name.rstrip("_")):
    """A Period: from a day on (UTC), perhaps only within a part of each day."""

    from_: datetime.date | None
    cards: tuple[CardRow, ...]
    daily: tuple[datetime.time, datetime.time] | None = None

    def __post_init__(self) -> None:
        """Cards for prompts of every length, in order."""
        starts = [card.over for card in self.cards]
        if starts[:1] != [0] or sorted(set(starts)) != starts:
            raise ValueError("cards begin with over 0 and rise from there")

    def period(self) -> Period:
        """The value."""
        start_s = float("-inf")
        if self.from_ is not None:
            start_s = datetime.datetime.combine(self.from_, datetime.time(), datetime.UTC).timestamp()
        daily = (_second(self.daily[0]), _second(self.daily[1])) if self.daily is not None else None
        return Period(start_s, tuple(RateCard(**msgspec.structs.asdict(card)) for card in self.cards), daily)


def _second(time: datetime.time) -> int:
    return time.hour * 3600 + time.minute * 60 + time.second


class ModelRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model's prices. No periods: it is known, but what it costs cannot be told from counts of tokens."""

    id: str
    match: Clause
    periods: tuple[PeriodRow, ...]
    tiers: dict[str, tuple[PeriodRow, ...]] = {}

    def rates(self) -> Rates | None:
        """The value."""
        if not self.periods:
            return None
        tiers = {name: tuple(row.period() for row in rows) for name, rows in self.tiers.items()}
        return Rates(tuple(row.period() for row in self.periods), tiers)


class SourceRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a list comes from."""

    name: str
    date: datetime.date
    version: str = ""
    license: str = ""
    unit: str = ""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds: models in the order in which they are tried, by the vendor who sells them."""

    source: SourceRow
    providers: dict[str, tuple[ModelRow, ...]]


@dataclass(frozen=True, slots=True)
class PriceList:
    """A list that was read."""

    source: PriceSource
    providers: Mapping[str, Sequence[ModelRow]]

    def row(self, vendors: Sequence[str], model: str) -> ModelRow | None:
        """The first row that fits the model's name, of the first of these vendors who has one."""
        name = model.lower()
        rows = (row for vendor in vendors for row in self.providers.get(vendor, ()))
        return next((row for row in rows if row.match.fits(name)), None)

    def check(self) -> None:
        """What reading leaves for later, as it takes long. Raises ValueError."""
        if not any(row.periods for rows in self.providers.values() for row in rows):
            raise ValueError("it holds no price")
        for vendor, rows in self.providers.items():
            for row in rows:
                _check_clause(f"{vendor}, {row.id}", row.match)


def _check_clause(where: str, clause: Clause) -> None:
    for part in (*(clause.or_ or ()), *(clause.and_ or ())):
        _check_clause(where, part)
    if clause.regex is not None:
        try:
            re.compile(clause.regex)
        except re.error as error:
            raise ValueError(f"{where}: {clause.regex!r} is no regular expression: {error}") from error


def parse_price_list(data: bytes) -> PriceList:
    """The list that this JSON holds. Raises ValueError."""
    document = msgspec.json.decode(data, type=Document)
    source = document.source
    digest = hashlib.sha256(data).hexdigest()
    return PriceList(PriceSource(source.name, source.version, source.date.isoformat(), digest), document.providers)


@cache
def packaged_prices() -> PriceList:
    """The list that comes with Waypost. Some milliseconds at the first call."""
    return parse_price_list(files("waypost.catalogue").joinpath(LIST_FILE).read_bytes())


def read_price_list(path: Path) -> PriceList:
    """The list in this file. Raises OSError, ValueError."""
    with path.open("rb") as file:
        data = file.read(MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise ValueError(f"it is over the limit of {MAX_LIST_BYTES} bytes")
    return parse_price_list(data)


def prices_in_force(data_dir: Path | None) -> PriceList:
    """The list in the data folder if it is newer than the packaged one. One that cannot be read is told in the log."""
    packaged = packaged_prices()
    if data_dir is None:
        return packaged
    try:
        fetched = read_price_list(data_dir / LIST_FILE)
    except FileNotFoundError:
        return packaged
    except (OSError, ValueError) as error:
        logger.warning("%s is not used, the packaged prices are: %s", data_dir / LIST_FILE, error)
        return packaged
    return fetched if fetched.source.is_newer_than(packaged.source) else packaged
