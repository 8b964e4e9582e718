"""Which plugins the settings name and whether they are installed. Nothing of a plugin is loaded by looking.

A plugin is an entry point of the group "waypost.providers". Its name is the kind of provider that it adds.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from waypost.errors import ConfigurationError

if TYPE_CHECKING:
    from waypost.settings import Settings

GROUP = "waypost.providers"


def find_plugin(name: str) -> EntryPoint:
    """The entry point of that name, not loaded. Raises ConfigurationError if no installed package offers it."""
    for found in entry_points(group=GROUP, name=name):
        return found
    raise ConfigurationError(
        f'No installed package offers the plugin "{name}" (entry point group {GROUP}).',
        hint="Correct its name, install the package that offers it, or take it out of plugins.",
    )


def check_plugins(settings: Settings) -> None:
    """Raises ConfigurationError for the first name in `plugins` that no installed package offers."""
    for name in settings.plugins:
        find_plugin(name)
