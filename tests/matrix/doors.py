"""The four dialects as a client knows them: where to ask, and what an answer, its end and an error look like.

Written from the vendors' documentation, by hand: nothing here is shared with the codecs that are tested.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.matrix.sse import Seen, events_in
from tests.simulated import Wire

Turn = tuple[str, str]
"""Who speaks ("user" or "assistant"), and what."""


@dataclass(frozen=True)
class Heard:
    """What a client makes of a reply. `told` is the error's name in the dialect; `finished`: the answer claims so."""

    text: str = ""
    finished: bool = False
    told: str = ""
    told_in_stream: bool = False
    filtered: bool = False
    """Does the answer say that its provider's content policy ended it?"""
    problems: tuple[str, ...] = ()
    """What a careful client would find wrong with a stream as such."""


class Door(ABC):
    """One dialect's client. `other` is the dialect of the second provider to try it with."""

    name: Wire
    other: Wire

    @abstractmethod
    def path(self, model: str, *, stream: bool) -> str:
        """Where to send a request."""

    @abstractmethod
    def body(self, model: str, turns: Sequence[Turn], *, stream: bool) -> dict[str, Any]:
        """The request."""

    @abstractmethod
    def hear_event(self, event: Seen) -> Heard:
        """What one event adds."""

    @abstractmethod
    def hear_whole(self, body: Any) -> Heard:
        """A whole answer."""

    @abstractmethod
    def error_in(self, body: Any) -> str:
        """The name of the error in an error reply."""

    @abstractmethod
    def identity(self, event: Seen) -> Any:
        """What must be the same in all events that have it, whoever goes on with the stream; None: it has none."""

    def hear_stream(self, body: bytes) -> Heard:
        """All of a stream."""
        text, last, problems = "", Heard(), []
        events = events_in(body)
        for event in events:
            heard = self.hear_event(event)
            text += heard.text
            if last.told or (last.finished and heard.text):
                problems.append(f"{event} comes after the end")
            told, filtered = heard.told or last.told, heard.filtered or last.filtered
            last = Heard(text, last.finished or heard.finished, told, bool(told), filtered)
        if last.finished and last.told:
            problems.append("it is finished and has an error")
        if len(several := {identity for event in events if (identity := self.identity(event)) is not None}) > 1:
            problems.append(f"it is several answers: {several}")
        return replace(last, problems=(*problems, *self.flaws(events)))

    def flaws(self, events: Sequence[Seen]) -> list[str]:
        """What is wrong with the events' order and numbers."""
        return []


class Chat(Door):
    """Source: OpenAI's API reference, Create chat completion, and its streaming events."""

    name = "chat"
    other = "anthropic"

    def path(self, model: str, *, stream: bool) -> str:
        return "/v1/chat/completions"

    def body(self, model: str, turns: Sequence[Turn], *, stream: bool) -> dict[str, Any]:
        messages = [{"role": role, "content": text} for role, text in turns]
        return {"model": model, "messages": messages, "max_completion_tokens": 500, "stream": stream}

    def hear_event(self, event: Seen) -> Heard:
        if event.data == "[DONE]":
            return Heard(finished=True)
        if "error" in event.data:
            return Heard(told=self.error_in(event.data))
        choices = event.data["choices"]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        reasons = [choice["finish_reason"] for choice in choices]
        return Heard(text, any(reasons), filtered="content_filter" in reasons)

    def identity(self, event: Seen) -> Any:
        known = isinstance(event.data, dict) and "id" in event.data
        return tuple(event.data[name] for name in ("id", "model", "created")) if known else None

    def flaws(self, events: Sequence[Seen]) -> list[str]:
        ends = [event for event in events if event.data == "[DONE]"]
        return [] if len(ends) <= 1 and ends in ([], [events[-1]]) else [f"{len(ends)} x [DONE]"]

    def hear_whole(self, body: Any) -> Heard:
        choice = body["choices"][0]
        reason = choice["finish_reason"]
        return Heard(choice["message"]["content"] or "", reason == "stop", filtered=reason == "content_filter")

    def error_in(self, body: Any) -> str:
        return str(body["error"]["code"])


class Responses(Door):
    """Source: OpenAI's API reference, Create a model response, and its streaming events."""

    name = "responses"
    other = "gemini"

    def path(self, model: str, *, stream: bool) -> str:
        return "/v1/responses"

    def body(self, model: str, turns: Sequence[Turn], *, stream: bool) -> dict[str, Any]:
        items = [{"role": role, "content": text} for role, text in turns]
        return {"model": model, "input": items, "max_output_tokens": 500, "stream": stream, "store": False}

    def hear_event(self, event: Seen) -> Heard:
        match event.kind:
            case "response.output_text.delta":
                return Heard(event.data["delta"])
            case "response.completed":
                return Heard(finished=True)
            case "response.incomplete":
                return Heard(filtered=self._is_filtered(event.data["response"]))
            case "response.failed":
                return Heard(told=str(event.data["response"]["error"]["type"]))
            case "error":
                return Heard(told=str(event.data["code"]))
        return Heard()

    def identity(self, event: Seen) -> Any:
        return event.data.get("response", {}).get("id")

    def flaws(self, events: Sequence[Seen]) -> list[str]:
        numbers = [event.data["sequence_number"] for event in events]
        items = {event.data["item_id"] for event in events if event.kind == "response.output_text.delta"}
        flaws = [] if numbers == list(range(len(numbers))) else [f"the numbers {numbers}"]
        return flaws + ([] if len(items) <= 1 else [f"the items {items}"])

    def hear_whole(self, body: Any) -> Heard:
        parts = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
        text, finished = "".join(part["text"] for part in parts), body["status"] == "completed"
        return Heard(text, finished, filtered=self._is_filtered(body))

    def _is_filtered(self, response: Any) -> bool:
        details = response["incomplete_details"]
        return bool(response["status"] == "incomplete" and details["reason"] == "content_filter")

    def error_in(self, body: Any) -> str:
        return str(body["error"]["code"])


class Anthropic(Door):
    """Source: Anthropic's API reference, Messages, Streaming and Errors."""

    name = "anthropic"
    other = "chat"

    def path(self, model: str, *, stream: bool) -> str:
        return "/v1/messages"

    def body(self, model: str, turns: Sequence[Turn], *, stream: bool) -> dict[str, Any]:
        messages = [{"role": role, "content": text} for role, text in turns]
        return {"model": model, "messages": messages, "max_tokens": 500, "stream": stream}

    def hear_event(self, event: Seen) -> Heard:
        match event.kind:
            case "content_block_delta":
                return Heard(event.data["delta"]["text"])
            case "message_delta":
                return Heard(filtered=event.data["delta"]["stop_reason"] == "refusal")
            case "message_stop":
                return Heard(finished=True)
            case "error":
                return Heard(told=self.error_in(event.data))
        return Heard()

    def identity(self, event: Seen) -> Any:
        return event.data["message"]["id"] if event.kind == "message_start" else None

    def flaws(self, events: Sequence[Seen]) -> list[str]:
        kinds = [event.kind for event in events]
        once = ("message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop")
        flaws = [f"{kinds.count(kind)} x {kind}" for kind in once if kinds.count(kind) > 1]
        indexes = {event.data["index"] for event in events if event.kind == "content_block_delta"}
        return flaws + ([] if len(indexes) <= 1 else [f"the blocks {indexes}"])

    def hear_whole(self, body: Any) -> Heard:
        text, reason = "".join(block["text"] for block in body["content"]), body["stop_reason"]
        return Heard(text, reason == "end_turn", filtered=reason == "refusal")

    def error_in(self, body: Any) -> str:
        assert body["type"] == "error"
        return str(body["error"]["type"])


class Gemini(Door):
    """Source: the Gemini API's reference, generateContent and streamGenerateContent; google.rpc.Status."""

    name = "gemini"
    other = "responses"

    def path(self, model: str, *, stream: bool) -> str:
        return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")

    def body(self, model: str, turns: Sequence[Turn], *, stream: bool) -> dict[str, Any]:
        roles = {"user": "user", "assistant": "model"}
        contents = [{"role": roles[role], "parts": [{"text": text}]} for role, text in turns]
        return {"contents": contents, "generationConfig": {"maxOutputTokens": 500}}

    def hear_event(self, event: Seen) -> Heard:
        return Heard(told=self.error_in(event.data)) if "error" in event.data else self.hear_whole(event.data)

    def hear_whole(self, body: Any) -> Heard:
        candidates = body.get("candidates", [])
        parts = [part for each in candidates for part in each.get("content", {}).get("parts", [])]
        text = "".join(part.get("text", "") for part in parts)
        reasons = {each["finishReason"] for each in candidates if "finishReason" in each}
        blocked = bool(body.get("promptFeedback", {}).get("blockReason"))
        filtered = blocked or bool(reasons & {"SAFETY", "PROHIBITED_CONTENT"})
        return Heard(text, bool(reasons) or blocked, filtered=filtered)

    def identity(self, event: Seen) -> Any:
        return (
            tuple(event.data[name] for name in ("responseId", "modelVersion")) if "responseId" in event.data else None
        )

    def error_in(self, body: Any) -> str:
        return str(body["error"]["status"])


DOORS: tuple[Door, ...] = (Chat(), Responses(), Anthropic(), Gemini())

OPENAI_ERRORS = {
    "provider_rate_limited": (429, "rate_limit_exceeded"),
    "provider_overloaded": (503, "provider_overloaded"),
    "provider_server_error": (502, "provider_server_error"),
    "provider_connection_lost": (502, "provider_connection_lost"),
    "provider_timeout": (504, "provider_timeout"),
    "provider_malformed_response": (502, "provider_malformed_response"),
    "provider_incomplete_stream": (502, "provider_incomplete_stream"),
    "context_length_exceeded": (400, "context_length_exceeded"),
    "content_policy_violation": (400, "content_policy_violation"),
    "provider_bad_request": (400, "provider_bad_request"),
    # Ours was refused, not the caller's: a 401 would send the caller looking for a fault in theirs.
    "provider_authentication": (502, "provider_authentication"),
    "recovery_diverged": (502, "recovery_diverged"),
    "target_paused": (503, "target_paused"),
    "all_providers_failed": (502, "all_providers_failed"),
}
"""Status and `error.code` that a client of OpenAI's sees, by our own code. OpenAI's own code where it has one."""

ERRORS = {
    "chat": OPENAI_ERRORS,
    "responses": OPENAI_ERRORS,
    "anthropic": {
        "provider_rate_limited": (429, "rate_limit_error"),
        "provider_overloaded": (529, "overloaded_error"),
        "provider_server_error": (502, "api_error"),
        "provider_connection_lost": (502, "api_error"),
        "provider_timeout": (504, "timeout_error"),
        "provider_malformed_response": (502, "api_error"),
        "provider_incomplete_stream": (502, "api_error"),
        "context_length_exceeded": (400, "invalid_request_error"),
        "content_policy_violation": (400, "invalid_request_error"),
        "provider_bad_request": (400, "invalid_request_error"),
        "provider_authentication": (502, "api_error"),
        "recovery_diverged": (502, "api_error"),
        "target_paused": (529, "overloaded_error"),
        "all_providers_failed": (502, "api_error"),
    },
    "gemini": {
        "provider_rate_limited": (429, "RESOURCE_EXHAUSTED"),
        "provider_overloaded": (503, "UNAVAILABLE"),
        "provider_server_error": (502, "INTERNAL"),
        "provider_connection_lost": (502, "UNAVAILABLE"),
        "provider_timeout": (504, "DEADLINE_EXCEEDED"),
        "provider_malformed_response": (502, "INTERNAL"),
        "provider_incomplete_stream": (502, "INTERNAL"),
        "context_length_exceeded": (400, "INVALID_ARGUMENT"),
        "content_policy_violation": (400, "INVALID_ARGUMENT"),
        "provider_bad_request": (400, "INVALID_ARGUMENT"),
        "provider_authentication": (502, "INTERNAL"),
        "recovery_diverged": (502, "INTERNAL"),
        "target_paused": (503, "UNAVAILABLE"),
        "all_providers_failed": (502, "UNAVAILABLE"),
    },
}
"""The same for each door: `error.type` with Anthropic, `error.status` with Google."""
