"""One error of each class of `waypost.errors`, for tests that go over all of them."""

from __future__ import annotations

from collections.abc import Iterator

from waypost import errors
from waypost.errors import AllTargetsFailed, LimitExceeded, ProviderTimeout, Shortage, WaypostError, WebhookRefused

SHORTAGE = Shortage("key", "app", "requests_per_minute", limit=5, used=5, reserved=0, resets_at_s=1_800_000_000.0)


def every_class(root: type[WaypostError] = WaypostError) -> Iterator[type[WaypostError]]:
    """The whole tree, its root first."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from every_class(child)


def example(error_class: type[WaypostError]) -> WaypostError:
    """An error of that class, with what its class needs besides a message."""
    if issubclass(error_class, ProviderTimeout):
        return error_class("it took too long", phase="total", limit_s=1.0)
    if issubclass(error_class, AllTargetsFailed):
        return error_class([])
    if issubclass(error_class, LimitExceeded):
        return error_class("the limit is reached", SHORTAGE)
    if issubclass(error_class, WebhookRefused):
        return error_class("it may not be called", "scheme")
    return error_class("what happened")
