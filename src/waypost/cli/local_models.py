"""What commands ask of the folder of local models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost.errors import ModelError

if TYPE_CHECKING:
    from waypost.local.store import ModelStore
    from waypost.settings import Settings


def store_of(settings: Settings) -> ModelStore:
    """The folder of models that these settings use."""
    from waypost.local.store import ModelStore

    return ModelStore(settings.models_folder)


def check_model(model: str, settings: Settings) -> str:
    """Where the model's file is, checked: a catalogue model to the last byte. Raises ModelError."""
    store = store_of(settings)
    path = store.verify(model) if model in store.catalogue else store.resolve(model)
    return f"{model} is undamaged" if model in store.catalogue else f"{path} has a good header"


def missing_models(settings: Settings) -> list[str]:
    """A sentence with its mend for each configured local model that is not there."""
    from waypost.settings import LlamaCppSettings

    store = store_of(settings)
    sentences = []
    for provider in settings.providers.values():
        if isinstance(provider, LlamaCppSettings):
            try:
                store.resolve(provider.model)
            except ModelError as error:
                sentences.append(str(error))
    return sentences
