"""The kinds of value that settings hold, and what every part of the settings is.

Invariant: no text form of a `Secret` shows it, and a value that is refused is not repeated by Pydantic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError

HIDDEN = "(set)"
MASKED = str(SecretStr("any"))
"""What Pydantic writes in a secret's place."""
KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
GIBIBYTE = 1024 * MEBIBYTE


def refuse_boolean(value: Any) -> Any:
    """YAML 1.1 reads `yes` and `on` as true, which Python counts as 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "a number is wanted")
    return value


def anchored(path: Path) -> Path:
    """The path from the root on, a ~ expanded."""
    return path.expanduser().absolute()


def web_address(text: str) -> str:
    """The text, if it is an address of the web. Raises ValueError."""
    try:
        address = urlsplit(text)
        usable = address.scheme in ("http", "https") and bool(address.hostname) and (address.port or 0) >= 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in text):
        raise ValueError("must be an address such as https://api.example.com/v1")
    return text


def _base_url(text: str) -> str:
    address = urlsplit(web_address(text))
    if address.username or address.password:
        raise ValueError("may hold no user name or password; put the key into api_key")
    if address.query or address.fragment:
        raise ValueError("may hold no ? or # part; Waypost appends the paths")
    return text.rstrip("/")


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        token = name.replace("-", "").replace("_", "")
        if not (token.isascii() and token.isalnum()):
            raise ValueError(f'holds the name "{name}", which is no header name')
        if not value.isprintable():
            raise ValueError(f'holds a line break or control character in the value of "{name}"')
    return headers


def _key(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if not text:
        raise ValueError("is empty; leave it out where no key is needed")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("holds a character that no key has, such as a space or a line break")
    return SecretStr(text)


def _database_url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    scheme, found, _ = text.partition("://")
    if not found or scheme.partition("+")[0] not in ("postgresql", "postgres", "sqlite"):
        raise ValueError("must begin with postgresql:// or sqlite:///")
    return SecretStr(text)


# The limits stand before the validator: the other way round Pydantic leaves them out of the JSON schema.
Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(refuse_boolean)]
SizeBytes: TypeAlias = Annotated[int, Field(ge=0, le=1024 * GIBIBYTE), BeforeValidator(refuse_boolean)]
BaseUrl: TypeAlias = Annotated[str, AfterValidator(_base_url)]
AnchoredPath: TypeAlias = Annotated[Path, AfterValidator(anchored)]
HttpHeaders: TypeAlias = Annotated[dict[str, str], AfterValidator(_headers)]
Secret: TypeAlias = Annotated[SecretStr, AfterValidator(_key)]
DatabaseUrl: TypeAlias = Annotated[SecretStr, AfterValidator(_database_url)]
Name: TypeAlias = Annotated[str, Field(min_length=1)]


class Part(BaseModel):
    """What every part of the settings is: frozen, closed, and silent about its input when it is wrong."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )
