"""The OpenAPI document is true: replies fit it, examples fit it, every error is in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from fastapi.testclient import TestClient

import waypost.errors
from waypost.chat import Finish, Part, PartDelta, PartEnd, PartStart, Reasoning, Refusal, ResponseStart, Text, ToolCall
from waypost.codecs.sse import SseDecoder
from waypost.errors import ProviderServerError, WaypostError
from waypost.providers.provider import ProviderState

Client = Callable[..., TestClient]
PATH = "/api/ai/generate"
# Told by pages that do not exist, by keys that are not built yet, or never to a caller.
NOT_OF_GENERATE = {"unknown_path", "method_not_allowed", "unknown_request", "configuration_error"}
NOT_OF_GENERATE |= {"unknown_stream", "stream_expired", "unknown_object", "conflict"}
# Told within streams alone.
NOT_OF_GENERATE |= {"stream_restarted", "answer_cancelled"}


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    document: dict[str, Any] = client().get("/openapi.json").json()
    return document


def fits(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def content(document: dict[str, Any], path: str, method: str, status: int, kind: str = "application/json") -> Any:
    return document["paths"][path][method]["responses"][str(status)]["content"][kind]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert found
    assert found <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def test_every_schema_is_a_schema(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_field_has_a_description(document: dict[str, Any]) -> None:
    missing = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, about in schema["properties"].items()
        if not about.get("description")
    ]
    assert missing == []


def test_examples_fit(document: dict[str, Any]) -> None:
    checked = 0
    for methods in document["paths"].values():
        for operation in methods.values():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for body in bodies:
                media = body.get("content", {}).get("application/json", {})
                for example in media.get("examples", {}).values():
                    fits(document, media["schema"], example["value"])
                    checked += 1
    assert checked > 20


def test_examples_of_requests_are_taken(client: Client, scripted: Any, document: dict[str, Any]) -> None:
    examples = document["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for example in examples.values():
        reply = client(scripted("ok")).post(PATH, json=example["value"])
        # This server has no jobs, and says so of what needs them.
        needs_jobs = example["value"].get("background", False)
        assert reply.status_code == (422 if needs_jobs else 200)
        assert not needs_jobs or reply.json()["error"]["code"] == "unsupported_feature"


def test_the_example_of_a_stream_fits(document: dict[str, Any]) -> None:
    media = content(document, PATH, "post", 200, "text/event-stream")
    for example in media["examples"].values():
        events = SseDecoder().feed(example["value"].encode())
        assert [event.event for event in events] == ["start", "delta", "done"]
        for event in events:
            fits(document, media["x-events"][event.event], json.loads(event.data))


def test_every_error_code_is_documented(document: dict[str, Any]) -> None:
    """With the status its class says."""
    documented = {
        (int(status), code)
        for status, reply in document["paths"][PATH]["post"]["responses"].items()
        for code in reply["content"]["application/json"].get("examples", {})
        if int(status) >= 400
    }
    kinds = [
        kind for kind in vars(waypost.errors).values() if isinstance(kind, type) and issubclass(kind, WaypostError)
    ]
    raised = {(kind.http_status, kind.code) for kind in kinds if kind.code not in NOT_OF_GENERATE}
    assert documented == raised


def test_whole_answers_fit(client: Client, scripted: Any, document: dict[str, Any]) -> None:
    schema = content(document, PATH, "post", 200)["schema"]
    good = client(scripted(ProviderServerError("A.")), scripted("ok")).post(PATH, json={"prompt": "p"})
    fits(document, schema, good.json())
    with pytest.raises(jsonschema.ValidationError):
        fits(document, schema, {**good.json(), "id": None})


def test_streams_fit(client: Client, eventful: Any, document: dict[str, Any]) -> None:
    parts: tuple[Part, ...] = (Reasoning("a"), Text("b"), Refusal("c"), ToolCall("d", "e", "{}"))
    shown = [event for number, part in enumerate(parts) for event in (PartStart(number, part), PartEnd(number))]
    reply = client(eventful(ResponseStart("i", "m"), *shown, Finish("stop"))).post(
        PATH, json={"prompt": "p", "stream": True}
    )
    broken = client(eventful(ResponseStart("i", "m"), PartStart(0, Text("")), PartDelta(0, "x"))).post(
        PATH, json={"prompt": "p", "stream": True}
    )
    kinds = content(document, PATH, "post", 200, "text/event-stream")["x-events"]
    seen = set()
    for event in (*SseDecoder().feed(reply.content), *SseDecoder().feed(broken.content)):
        fits(document, kinds[event.event], json.loads(event.data))
        seen.add(event.event)
    assert seen == set(kinds) - {"restart"}, "that is of streams which are made in the background"


ERRORS: list[tuple[str, str, dict[str, Any]]] = [
    ("post", PATH, {"content": b"{", "headers": {"content-type": "application/json"}}),
    ("post", PATH, {"content": b"{}", "headers": {"content-type": "text/plain"}}),
    ("post", PATH, {"json": {"prompt": "p"}}),
    ("get", "/health", {"headers": {"host": "evil.example"}}),
]


@pytest.mark.parametrize(("method", "path", "sent"), ERRORS)
def test_errors_fit(
    client: Client, scripted: Any, document: dict[str, Any], method: str, path: str, sent: dict[str, Any]
) -> None:
    reply = client(scripted(ProviderServerError("A."))).request(method, path, **sent)
    assert reply.status_code >= 400
    fits(document, content(document, path, method, reply.status_code)["schema"], reply.json())


@pytest.mark.parametrize(("path", "state"), [("/health", "ready"), ("/ready", "ready"), ("/ready", "unavailable")])
def test_probes_fit(client: Client, scripted: Any, document: dict[str, Any], path: str, state: Any) -> None:
    reply = client(scripted(state=ProviderState(state, "x"))).get(path)
    fits(document, content(document, path, "get", reply.status_code)["schema"], reply.json())
