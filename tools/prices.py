"""The price list that Waypost ships, from the figures of genai-prices: `src/waypost/catalogue/prices.json`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from waypost.catalogue.genai import installed, price_list_text

RELEASED: Final = {"0.2.3": "2026-11-10"}
"""The day each release of genai-prices was published; `make lock` to a newer one needs a row here."""


def price_list() -> str:
    """The text of prices.json."""
    release = version("genai-prices")
    if release not in RELEASED:
        raise SystemExit(f"tools/prices.py: add the day on which genai-prices {release} was published to RELEASED.")
    return price_list_text(installed(), {"name": "genai-prices", "version": release, "date": RELEASED[release]})
