"""Names, tables and small values that the modules of this codec share.

Chat Completions is of the same family and writes the family's opaque data into its own messages, where item ids would
be refused. So opaque data, and options that Chat Completions does not have, are kept under this format's own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from waypost.chat import FinishReason, Json, Opaque
from waypost.codecs.openai_chat import dialect

WIRE: Final = "openai_responses"
FAMILY: Final = dialect.FAMILY
OWN: Final = WIRE
"""The key of this format's data in `opaque` and `provider_fields`, and of what only it has in `provider_options`."""

ITEM: Final = "item"
"""In the opaque data of the last part of an item with several: members of the item (status, encrypted_content)."""
RAW_REASONING: Final = "raw"
"""Marks reasoning that is the model's own words (an item's `content`), not a summary of them."""

MADE_ID: Final = "_waypost_"
"""In the ids of items that no provider gave one: when a caller sends them back they are no provider's to know."""

INCOMPLETE_REASONS: Final[dict[str, FinishReason]] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
    "max_messages": "other",
    "steered": "other",
}
"""What `incomplete_details.reason` says."""
INCOMPLETE_WORDS: Final[dict[FinishReason, str]] = {"length": "max_output_tokens", "content_filter": "content_filter"}

SERVER_TOOLS: Final = frozenset({
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "computer_call",
    "computer_call_output",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "tool_search_call",
    "tool_search_output",
    "mcp_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "item_reference",
})  # fmt: skip
"""Items of the provider's own tools, and references to what it keeps. Any other unknown item is Unknown."""

KNOWN_MEMBERS: Final = frozenset({
    "id",
    "object",
    "created_at",
    "model",
    "output",
    "status",
    "error",
    "incomplete_details",
    "usage",
    "service_tier",
})  # fmt: skip
"""Members of a response that the canonical answer holds."""

REQUIRED_MEMBERS: Final[Mapping[str, Json]] = {
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}
"""Members that repeat the request and that readers want: what stands there if the request's are not known."""

REPAIRED: Final = ("lone surrogates", "text that is not valid Unicode was sent as U+FFFD")


class Losses(dialect.Losses):
    """What one encoding could not carry over, each kind once."""

    __slots__ = ()

    def own(self, opaque: Opaque) -> Mapping[str, Json]:
        """This format's data of `opaque`; all other is noted as lost."""
        for family, data in opaque.items():
            if family != OWN:
                for name in data:
                    self.add(f"opaque.{family}.{name}", "only the format it came from understands it")
        return opaque.get(OWN, {})


def keep(members: Mapping[str, Json]) -> Opaque:
    """Members without a canonical place, as opaque data. Null and an empty list say the same as absence."""
    kept = present(members)
    return {OWN: kept} if kept else {}


def present(members: Mapping[str, Json]) -> dict[str, Any]:
    """The members that say something."""
    return {name: value for name, value in members.items() if value is not None and value != []}


def given_id(item_id: str | None) -> str | None:
    """The id, if a provider gave it."""
    return None if item_id is None or MADE_ID in item_id else item_id
