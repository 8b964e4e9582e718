"""Budgets and limits: how much a key, a project and an end user may use, exact however many ask at once.

A limit is so much of a unit (requests, tokens, slots, money) for a subject in a window of UTC. What of it this process
may use is in memory as a pool; a source fills pools, in one of two ways. The invariant: what is spent and reserved in
all processes together is never over the limit, but for a call that cost more than the most it could.
"""

from waypost.ledger.allowances.allowances import Allowances, BudgetUse
from waypost.ledger.allowances.held import Admission, Reservation
from waypost.ledger.allowances.rates import Rate, RateLimits

__all__ = ["Admission", "Allowances", "BudgetUse", "Rate", "RateLimits", "Reservation"]
