"""Token counts as providers report them. None means "not reported", never zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

COUNTS = (
    "input_tokens",
    "input_cache_read_tokens",
    "input_cache_write_5m_tokens",
    "input_cache_write_1h_tokens",
    "input_audio_tokens",
    "output_tokens",
    "output_reasoning_tokens",
    "output_audio_tokens",
)
"""The fields of Usage that are counts of tokens."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Cumulative counts, in tokens, of one response.

    `input_tokens` is the whole prompt and holds the cached and audio tokens too; `output_tokens` is all that
    was generated and holds reasoning and audio. So a price never adds a part to its whole.
    """

    input_tokens: int | None = None
    input_cache_read_tokens: int | None = None
    input_cache_write_5m_tokens: int | None = None
    input_cache_write_1h_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_tokens: int | None = None
    output_reasoning_tokens: int | None = None
    output_audio_tokens: int | None = None
    server_tool_calls: Mapping[str, int] = field(default_factory=dict)
    """Calls of the provider's own tools, by its name for them."""
    service_tier: str | None = None

    def __post_init__(self) -> None:
        """A negative count is none: it is taken as not reported."""
        for count in (
            self.input_tokens,
            self.input_cache_read_tokens,
            self.input_cache_write_5m_tokens,
            self.input_cache_write_1h_tokens,
            self.input_audio_tokens,
            self.output_tokens,
            self.output_reasoning_tokens,
            self.output_audio_tokens,
        ):
            if count is not None and count < 0:
                self._drop_negative()

    def _drop_negative(self) -> None:
        for name in COUNTS:
            if (getattr(self, name) or 0) < 0:
                object.__setattr__(self, name, None)

    def merge(self, later: Usage) -> Usage:
        """The state after `later`: what it reports replaces what was known, what it leaves out stays."""
        return Usage(
            **{
                item.name: new if (new := getattr(later, item.name)) not in (None, {}) else getattr(self, item.name)
                for item in fields(Usage)
            }
        )
