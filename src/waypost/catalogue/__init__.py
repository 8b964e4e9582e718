"""What models can do and cost, from dated data; what a request needs; and where the two do not meet."""

from waypost.catalogue.capabilities import Capabilities, capabilities_of
from waypost.catalogue.lacks import Lack, lacking, refusal, without
from waypost.catalogue.needs import Need, Needs, Size, needs_of, size_of
from waypost.catalogue.prices import PriceSource, cost_micro_usd, price_source, rates_of, worst_case_micro_usd
from waypost.catalogue.table import CatalogueTarget, capability_table

__all__ = [
    "Capabilities",
    "CatalogueTarget",
    "Lack",
    "Need",
    "Needs",
    "PriceSource",
    "Size",
    "capabilities_of",
    "capability_table",
    "cost_micro_usd",
    "lacking",
    "needs_of",
    "price_source",
    "rates_of",
    "refusal",
    "size_of",
    "without",
    "worst_case_micro_usd",
]
