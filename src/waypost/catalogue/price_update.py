"""A newer list of prices for the data folder: from a file, or from what is installed of genai-prices.

The invariant: what is put in place was read and checked whole, and is put there in one step.
"""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from waypost.catalogue.genai import NotGenaiPrices, installed, price_list_text
from waypost.catalogue.price_list import LIST_FILE, MAX_LIST_BYTES, PriceList, parse_price_list
from waypost.errors import ConfigurationError

PACKAGE = "genai-prices"


def list_from_file(path: Path, day: date | None = None) -> tuple[bytes, PriceList]:
    """The list in a file of ours or of genai-prices', as bytes of ours and read. Raises ConfigurationError.

    genai-prices' file does not say its day: `day`, else the day on which the file was last written.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_LIST_BYTES:
        raise ConfigurationError(f"{path} is over the limit of {MAX_LIST_BYTES} bytes for a list of prices.")
    return _checked(str(path), _ours(data, {"name": PACKAGE, "version": "", "date": str(day or written)}, str(path)))


def list_from_package(day: date | None = None) -> tuple[bytes, PriceList]:
    """The same of the installed genai-prices. Its day is `day`, else the one on which it was installed."""
    try:
        found = distribution(PACKAGE)
        published = installed()
    except (PackageNotFoundError, ImportError) as error:
        raise ConfigurationError(
            f"{PACKAGE} is not installed here.", hint=f"Run: pip install -U {PACKAGE}. Or name a file."
        ) from error
    put = datetime.fromtimestamp(Path(str(found.locate_file("genai_prices"))).stat().st_mtime, UTC).date()
    source = {"name": PACKAGE, "version": found.version, "date": str(day or put)}
    return _checked(PACKAGE, _converted(published, source, f"{PACKAGE} {found.version}"))


def put_in_place(data: bytes, data_dir: Path) -> Path:
    """Make it the data folder's list: all of it, or nothing is changed. Raises ConfigurationError."""
    target = data_dir / LIST_FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=data_dir, prefix=f".{LIST_FILE}.")
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(0o644)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror}.") from error
    return target


def remove_from(data_dir: Path) -> bool:
    """Go back to the packaged list. Was there another? Raises ConfigurationError."""
    target = data_dir / LIST_FILE
    try:
        target.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be removed: {error.strerror}.") from error
    return True


def _ours(data: bytes, source: dict[str, str], where: str) -> bytes:
    try:
        published: Any = json.loads(data, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where} is no JSON: {error}.") from error
    # genai-prices publishes a list of vendors, ours is an object.
    return _converted(published, source, where) if isinstance(published, list) else data


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no amount")


def _converted(published: Any, source: dict[str, str], where: str) -> bytes:
    try:
        return price_list_text(published, source).encode()
    except NotGenaiPrices as error:
        raise ConfigurationError(f"{where} cannot be used: {error}.") from error


def _checked(where: str, data: bytes) -> tuple[bytes, PriceList]:
    try:
        price_list = parse_price_list(data)
        price_list.check()
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where} cannot be used: {error}.") from error
    if price_list.source.date > datetime.now(UTC).date().isoformat():
        raise ConfigurationError(f"{where} cannot be used: it is of {price_list.source.date}, which has not come.")
    return data, price_list
