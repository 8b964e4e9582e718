"""What is told to a request that is refused: which limit it was, how it stands, and when to come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from waypost.errors import BudgetExceeded, LimitExceeded, PriceUnknown, Shortage
from waypost.ledger.account import Account
from waypost.ledger.allowances.pool import MONEY, Unit
from waypost.ledger.allowances.source import Need

HELD_S: Final = 2.0
"""When to come back for what is reserved and may be given back."""
SLOT_S: Final = 1.0
"""When to come back for a slot."""
_SENTENCES: Final[Mapping[Unit, str]] = {
    "requests": "The {title} is reached.",
    "tokens": "The {title} is reached: {used} are used and {reserved} reserved, and this request may come to {amount}.",
    "slots": "The {title} is reached.",
    "micro_usd": (
        "The {title} is {limit} USD: {used} are spent and {reserved} reserved, and this call may cost up to {amount}."
    ),
}
_TOO_LARGE: Final[Mapping[Unit, str]] = {
    **_SENTENCES,
    "tokens": "The {title} does not suffice for this request, which may come to {amount}.",
    "micro_usd": "The {title} is {limit} USD, and this call alone may cost up to {amount}.",
}
_SMALLER: Final = "Shorten the prompt or set a smaller max_tokens, or have the limit raised."


def refusal(lacking: Sequence[Need], now_s: float) -> LimitExceeded:
    """The error for what lacks longest."""
    for need in lacking:
        # More than there ever is.
        if need.amount > need.allowance.limit:
            return _error(need, _TOO_LARGE, _SMALLER, None)
    need = max(lacking, key=lambda need: _wait_s(need, now_s))
    wait_s = _wait_s(need, now_s)
    return _error(need, _SENTENCES, _hint(need, wait_s), wait_s)


def is_spent(need: Need) -> bool:
    """Would it not be covered either if all that is reserved came back? Requests count when they are made."""
    return need.pool.unit == "requests" or need.allowance.limit - need.pool.all_spent < need.amount


def price_unknown(account: Account) -> PriceUnknown:
    """The error for a call of which nobody knows what it may cost."""
    return PriceUnknown(
        f'The key "{account.key_name}" may only make calls whose price is known, and the price of this one is not.'
    )


def _error(need: Need, sentences: Mapping[Unit, str], hint: str, wait_s: float | None) -> LimitExceeded:
    told, unit = _shortage(need), need.allowance.unit
    figures = {"limit": told.limit, "used": told.used, "reserved": told.reserved, "amount": need.amount}
    shown = {name: usd(figure) if unit == MONEY else str(figure) for name, figure in figures.items()}
    message = sentences[unit].format(title=need.allowance.title, **shown)
    error_class = BudgetExceeded if unit == MONEY else LimitExceeded
    return error_class(message, told, hint=hint, retry_after_s=wait_s)


def _wait_s(need: Need, now_s: float) -> float:
    if need.allowance.unit == "slots":
        return SLOT_S
    until_reset_s = max(0.0, need.pool.window.ends_at_s - now_s)
    return until_reset_s if is_spent(need) else min(HELD_S, until_reset_s)


def _hint(need: Need, wait_s: float) -> str:
    again = f"Ask again in {max(1, round(wait_s))} s"
    if need.allowance.unit == "slots":
        return f"{again}; a request that ends makes room."
    resets = f"It resets at {iso_time(need.pool.window.ends_at_s)}."
    if not is_spent(need):
        return f"{again}; what is reserved and not used comes back. {resets}"
    return resets if need.pool.unit == MONEY else f"{again}. {resets}"


def _shortage(need: Need) -> Shortage:
    allowance, pool = need.allowance, need.pool
    taken = allowance.limit - pool.left(allowance.limit)
    used = taken if allowance.unit == "slots" else min(taken, pool.all_spent)
    return Shortage(
        allowance.whose, allowance.name, allowance.what, allowance.limit, used, taken - used, pool.window.resets_at_s
    )


def usd(micro_usd: int) -> str:
    """Dollars, exactly, with at least two digits after the point."""
    whole, part = divmod(abs(micro_usd), 1_000_000)
    cents, rest = divmod(part, 10_000)
    sign = "-" if micro_usd < 0 else ""
    return f"{sign}{whole}.{cents:02d}" + (f"{rest:04d}".rstrip("0") if rest else "")


def iso_time(at_s: float) -> str:
    """RFC 3339, in UTC, to the second."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
