"""Which models have a series of their own: those of the settings, and some that were really used; no inventions.

The invariant: besides those of the settings there are never more than MOST_OTHERS, however many names callers try.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

OTHER: Final = "other"
MOST_OTHERS: Final = 100
IsPriced = Callable[[str, str, str], bool]


class ModelNames:
    """Of one process. `configure` again when the settings are others: who had a series keeps it."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()
        self._others: set[tuple[str, str]] = set()
        self._is_priced: IsPriced = _unpriced

    def configure(self, targets: Iterable[tuple[str, str]], is_priced: IsPriced) -> None:
        """Provider and model of each target; `is_priced` takes a provider, its kind and a model."""
        self._known = set(targets)
        self._is_priced = is_priced

    def label(self, provider: str, kind: str, model: str, *, was_answered: bool = False) -> str:
        """What stands for the model."""
        target = (provider, model)
        if target in self._known or target in self._others or not model:
            return model
        # Prices are known by patterns, which fit what nobody offers: only its provider knows a model.
        if was_answered and len(self._others) < MOST_OTHERS and self._is_priced(provider, kind, model):
            self._others.add(target)
            return model
        return OTHER


def _unpriced(provider: str, kind: str, model: str) -> bool:  # noqa: ARG001 - as IsPriced
    return False
