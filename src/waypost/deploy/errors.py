"""How a deploy ends other than well."""

from __future__ import annotations

from waypost.errors import WaypostError


class DeployRefused(WaypostError):
    """It was not begun, because it could not have ended well; nothing was changed."""


class DeployFailed(WaypostError):
    """A step failed; what it left behind is in the record."""


class HostUnreachable(DeployFailed):
    """The connection to the host could not be made, or broke."""
