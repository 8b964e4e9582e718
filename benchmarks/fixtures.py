"""The fake provider's replies, in OpenAI's and Anthropic's formats: one JSON answer and one stream each.

The streams say the same 200 tokens. OpenAI's has 202 events, the usage and `[DONE]`; Anthropic's has 206 events. What
a figure is divided by is counted by the fake provider, never assumed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXT = "This is a mock response from the upstream provider used for benchmark purposes. " * 6
TOKENS = [f" tok{number}" for number in range(200)]
INPUT_TOKENS = 25


def write_replies(folder: Path) -> None:
    """Write openai.json, openai.sse, anthropic.json and anthropic.sse into that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "openai.json").write_text(json.dumps(openai_reply()))
    (folder / "openai.sse").write_text(openai_stream())
    (folder / "anthropic.json").write_text(json.dumps(anthropic_reply()))
    (folder / "anthropic.sse").write_text(anthropic_stream())


def openai_reply() -> dict[str, Any]:
    """A chat completion."""
    message = {"role": "assistant", "content": TEXT, "refusal": None}
    return {
        **_openai("chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": INPUT_TOKENS, "completion_tokens": 90, "total_tokens": INPUT_TOKENS + 90},
    }


def openai_stream() -> str:
    """The chunks of a chat completion, with usage at the end."""
    deltas = [{"role": "assistant", "content": ""}, *({"content": token} for token in TOKENS)]
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": 200, "total_tokens": INPUT_TOKENS + 200}
    chunks = [*(_chunk(delta) for delta in deltas), _chunk({}, "stop"), {**_chunk({}), "choices": [], "usage": usage}]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def anthropic_reply() -> dict[str, Any]:
    """A message."""
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": 90}
    content = [{"type": "text", "text": TEXT}]
    return _message(content, "end_turn", {**usage, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0})


def anthropic_stream() -> str:
    """The events of a message."""
    start = _message([], None, {"input_tokens": INPUT_TOKENS, "output_tokens": 1})
    block = {"index": 0, "content_block": {"type": "text", "text": ""}}
    end = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 200}}
    deltas = ({"index": 0, "delta": {"type": "text_delta", "text": token}} for token in TOKENS)
    return "".join(
        (
            _event("message_start", {"message": start}),
            _event("content_block_start", block),
            _event("ping", {}),
            *(_event("content_block_delta", delta) for delta in deltas),
            _event("content_block_stop", {"index": 0}),
            _event("message_delta", end),
            _event("message_stop", {}),
        )
    )


def _openai(kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-mock",
        "object": kind,
        "created": 1700000000,
        "model": "mock-model",
        "system_fingerprint": "fp_x",
    }


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {**_openai("chat.completion.chunk"), "choices": [choice], "usage": None}


def _message(content: list[dict[str, str]], stop_reason: str | None, usage: dict[str, int]) -> dict[str, Any]:
    return {
        "id": "msg_mock",
        "type": "message",
        "role": "assistant",
        "model": "claude-mock",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def _event(kind: str, fields: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"
