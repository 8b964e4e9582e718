"""The settings of the ledger: how what was spent is kept, and for how long what callers did is remembered."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from waypost.settings.fields import GIBIBYTE, KIBIBYTE, MEBIBYTE, Part, SizeBytes, refuse_boolean, web_address

Days: TypeAlias = Annotated[int, Field(ge=1, le=36_500), BeforeValidator(refuse_boolean)]


def _off(value: Any) -> Any:
    """YAML 1.1 reads a bare `off` as false."""
    return "off" if value is False else value


class LedgerSettings(Part):
    """What is kept of requests."""

    enabled: bool = True
    """Whether calls are written down; if not, there are no budgets, limits, request log or stored responses."""
    journal_max_bytes: Annotated[SizeBytes, Field(ge=1024 * 1024)] = GIBIBYTE
    """How far the journal may grow while the database is away; then requests that cost get status 503."""
    fsync: Annotated[Literal["off", "interval", "always"], BeforeValidator(_off)] = "off"
    """When the journal is forced to the disk: off (only a power cut loses something), twice a second, or always."""
    requests_days: Days = 90
    """Days that requests and their attempts stay in the log; daily totals stay."""
    bodies_days: Days = 7
    """Days that bodies stay, of those routes and projects that store them."""
    body_max_bytes: Annotated[SizeBytes, Field(ge=KIBIBYTE, le=MEBIBYTE)] = 64 * KIBIBYTE
    """Most that is stored of a request's body, and of its answer's, once secrets and media are taken out; in bytes."""
    store_responses: Literal["default", "asked", "never"] = "default"
    """Which answers of /v1/responses are stored: all but where store is false (default), where it is true, or none."""
    responses_days: Days = 30
    """Days that answers of /v1/responses stay, if their caller stores them."""
    audit_days: Days = 365
    """Days that changes made by administrators stay in the audit log."""
    deliveries_days: Days = 30
    """Days that messages to webhooks stay in their log."""
    warning_webhook: Annotated[str, AfterValidator(web_address)] | None = None
    """Address that is sent a signed JSON message when a budget reaches one of its warning shares."""
