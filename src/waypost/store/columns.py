"""The few kinds of columns that tables are made of. `needed`: never NULL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Integer

from waypost.store.types import AnyText


def id_column(name: str = "id", length: int = 64) -> Column[str]:
    """What a row is known by."""
    return Column(name, AnyText(length), primary_key=True)


def text_column(name: str, length: int = 200, *, needed: bool = False, **more: Any) -> Column[str]:
    """Text of at most `length` characters."""
    return Column(name, AnyText(length), nullable=not needed, **more)


def number_column(name: str, *, needed: bool = False, **more: Any) -> Column[int]:
    """A time, an amount or a count without end."""
    return Column(name, BigInteger, nullable=not needed, **more)


def counter_column(name: str) -> Column[int]:
    """A count that begins with 0."""
    return Column(name, Integer, nullable=False)
