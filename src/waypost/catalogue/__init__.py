"""What models can do and cost, from dated data; what a request needs; and where the two do not meet."""

from waypost.catalogue.capabilities import Capabilities, capabilities_of
from waypost.catalogue.lacks import Lack, lacking, refusal, without
from waypost.catalogue.needs import Need, Needs, Size, needs_of, size_of
from waypost.catalogue.price_list import PriceSource
from waypost.catalogue.prices import PUBLISHED, Price, PriceBook, PriceRule
from waypost.catalogue.table import CatalogueTarget, capability_table

__all__ = [
    "PUBLISHED",
    "Capabilities",
    "CatalogueTarget",
    "Lack",
    "Need",
    "Needs",
    "Price",
    "PriceBook",
    "PriceRule",
    "PriceSource",
    "Size",
    "capabilities_of",
    "capability_table",
    "lacking",
    "needs_of",
    "refusal",
    "size_of",
    "without",
]
