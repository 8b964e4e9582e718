"""What is told to a request that is refused: which limit it was, how it stands, and when to come back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from waypost.errors import BudgetExceeded, LimitExceeded, PriceUnknown, Shortage
from waypost.ledger.account import Account
from waypost.ledger.allowances.pool import MONEY
from waypost.ledger.allowances.source import Need

HELD_S: Final = 2.0
"""When to come back for what requests under way hold and may give back."""
SLOT_S: Final = 1.0
"""When to come back for a slot."""


def refusal(lacking: Sequence[Need], now_s: float) -> LimitExceeded:
    """The error for what lacks longest."""
    waits = [(_wait_s(need, now_s), need) for need in lacking]
    hopeless = [need for wait_s, need in waits if wait_s is None]
    if hopeless:
        return _too_large(hopeless[0])
    wait_s, need = max(((wait_s or 0.0, need) for wait_s, need in waits), key=lambda each: each[0])
    error_class = BudgetExceeded if need.allowance.unit == MONEY else LimitExceeded
    return error_class(_sentence(need), _shortage(need), hint=_hint(need, wait_s), retry_after_s=wait_s)


def is_spent(need: Need) -> bool:
    """Would it not be covered either if everything under way cost nothing? Requests count when they are made."""
    return need.pool.unit == "requests" or need.allowance.limit - need.pool.all_spent < need.amount


def price_unknown(account: Account) -> PriceUnknown:
    """The error for a call of which nobody knows what it may cost."""
    return PriceUnknown(
        f'The key "{account.key_name}" may only make calls whose price is known, and the price of this one is not.'
    )


def _wait_s(need: Need, now_s: float) -> float | None:
    """None: it is more than there ever is."""
    if need.amount > need.allowance.limit:
        return None
    if need.allowance.unit == "slots":
        return SLOT_S
    until_reset_s = max(0.0, need.pool.window.ends_at_s - now_s)
    return until_reset_s if is_spent(need) else min(HELD_S, until_reset_s)


def _shortage(need: Need) -> Shortage:
    allowance, pool = need.allowance, need.pool
    used = 0 if allowance.unit == "slots" else pool.all_spent
    reserved = max(0, allowance.limit - pool.left(allowance.limit) - used)
    if allowance.unit == "slots":
        used, reserved = reserved, 0
    resets_at_s = pool.window.resets_at_s
    return Shortage(allowance.whose, allowance.name, allowance.what, allowance.limit, used, reserved, resets_at_s)


def _sentence(need: Need) -> str:
    allowance, told = need.allowance, _shortage(need)
    if allowance.unit == MONEY:
        return (
            f"The {allowance.title} is {usd(told.limit)} USD: {usd(told.used)} are spent and {usd(told.reserved)} reserved "
            f"by requests under way, which leaves less than the {usd(need.amount)} that this call may cost."
        )
    if allowance.unit == "slots":
        return f"The {allowance.title} is reached: {told.used} are under way."
    if allowance.unit == "requests":
        return f"The {allowance.title} is reached."
    return (
        f"The {allowance.title} is {told.used} used and {told.reserved} reserved by requests under way, which leaves less "
        f"than the {need.amount} that this request may come to."
    )


def _hint(need: Need, wait_s: float) -> str:
    again = f"Ask again in {max(1, round(wait_s))} s."
    if need.allowance.unit == "slots":
        return f"{again} A request that ends makes room."
    resets_at = iso_time(need.pool.window.ends_at_s)
    if not is_spent(need):
        return f"{again} Requests that end may make room; it resets at {resets_at}."
    return f"It resets at {resets_at}." if need.allowance.unit == MONEY else f"{again} It resets at {resets_at}."


def _too_large(need: Need) -> LimitExceeded:
    allowance = need.allowance
    if allowance.unit == MONEY:
        message = f"The {allowance.title} is {usd(allowance.limit)} USD in all, and this call may cost {usd(need.amount)} USD."
    else:
        message = f"The {allowance.title} is less than the {need.amount} that this request may come to."
    error_class = BudgetExceeded if allowance.unit == MONEY else LimitExceeded
    return error_class(message, _shortage(need), hint="Shorten the prompt, or set a smaller max_tokens.")


def usd(micro_usd: int) -> str:
    """Dollars, exactly, with at least two digits after the point."""
    whole, part = divmod(abs(micro_usd), 1_000_000)
    cents, rest = divmod(part, 10_000)
    sign = "-" if micro_usd < 0 else ""
    return f"{sign}{whole}.{cents:02d}" + (f"{rest:04d}".rstrip("0") if rest else "")


def iso_time(at_s: float) -> str:
    """RFC 3339, in UTC, to the second."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
