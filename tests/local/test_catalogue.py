"""The catalogue's data is complete and its chat templates mean what they say."""

from __future__ import annotations

import re

import pytest

from waypost.local.catalogue import CATALOGUE, CatalogueModel


@pytest.mark.parametrize("model", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_an_entry_names_one_exact_file(model: CatalogueModel) -> None:
    assert CATALOGUE[model.name] is model
    assert re.fullmatch(r"[a-z0-9.-]+", model.name)
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in (model.wheel_sha256, model.file_sha256))
    assert model.member.endswith(".gguf")
    assert model.file_size_bytes > 0
    assert model.wheel_size_bytes > 0
    assert model.license == "Apache-2.0"
