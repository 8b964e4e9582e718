"""Embeddings, both ways, in OpenAI's and Google's formats, and from one to the other."""

from __future__ import annotations

import base64
import json
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from tests.codecs.strategies import json_values, names, texts

from waypost.chat import EmbeddingRequest, EmbeddingResponse, Usage
from waypost.codecs.codec import EmbeddingCodec
from waypost.codecs.gemini import embeddings as gemini
from waypost.codecs.openai_embeddings import codec as openai
from waypost.errors import (
    InvalidRequest,
    MalformedResponse,
    ProviderError,
    ProviderRateLimited,
    UnsupportedFeature,
)

ALL: dict[str, EmbeddingCodec] = {each.name: each for each in (openai, gemini.one, gemini.batch)}
every = pytest.mark.parametrize("codec", ALL.values(), ids=ALL.keys())
EXAMPLES = settings(max_examples=60, deadline=None)

singles = st.floats(-1, 1, width=32)
vectors = st.lists(singles, min_size=1, max_size=4).map(tuple)


@st.composite
def text_requests(draw: st.DrawFn, most: int = 3) -> EmbeddingRequest:
    inputs = tuple(draw(st.lists(texts(), min_size=1, max_size=most)))
    return EmbeddingRequest(draw(names()), inputs, draw(st.none() | st.integers(1, 3072)))


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_every_form_of_openai_input_is_read() -> None:
    def inputs(value: Any) -> Any:
        return openai.decode_request(body({"model": "m", "input": value})).inputs

    assert inputs("one") == ("one",)
    assert inputs(["one", "two"]) == ("one", "two")
    assert inputs([1, 2]) == ((1, 2),)
    assert inputs([[1, 2], [3]]) == ((1, 2), (3,))


@pytest.mark.parametrize("value", [None, [], 5, [""] * 0, [[]], [1, "a"], [[1, "a"]], [-1], [True], {"text": "a"}])
def test_what_is_no_input_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="input"):
        openai.decode_request(body({"model": "m", "input": value}))


def test_an_openai_request_keeps_what_only_openai_knows() -> None:
    wire = {"model": "m", "input": ["a"], "dimensions": 8, "encoding_format": "base64", "user": "u", "x_new": {"a": 1}}
    request = openai.decode_request(body(wire))
    assert (request.dimensions, request.encoding, request.end_user_id) == (8, "base64", "u")
    encoded = openai.encode_request(request)
    assert json.loads(encoded.body) == wire
    assert encoded.losses == ()


@EXAMPLES
@given(text_requests())
def test_a_request_of_texts_goes_through_both_formats_whole(request: EmbeddingRequest) -> None:
    for codec in (openai, gemini.batch):
        encoded = codec.encode_request(request)
        assert encoded.losses == ()
        assert codec.decode_request(encoded.body) == request


@EXAMPLES
@given(text_requests(most=1))
def test_a_request_of_one_text_fits_the_endpoint_for_one(request: EmbeddingRequest) -> None:
    assert gemini.one.decode_request(gemini.one.encode_request(request).body) == request


def test_what_gemini_cannot_take_is_told() -> None:
    request = EmbeddingRequest("m", ("a",), end_user_id="u", provider_options={"openai": {"x_new": 1}})
    assert {loss.what for loss in gemini.batch.encode_request(request).losses} == {
        "end_user_id",
        "provider_options[openai]",
    }


def test_tokens_are_refused_where_only_texts_are_taken() -> None:
    with pytest.raises(UnsupportedFeature) as raised:
        gemini.batch.encode_request(EmbeddingRequest("m", ("a", (1, 2))))
    assert raised.value.param == "input[1]"
    with pytest.raises(UnsupportedFeature):
        gemini.one.encode_request(EmbeddingRequest("m", ("a", "b")))


def test_gemini_settings_that_all_texts_share_are_the_requests_own() -> None:
    def item(text: str, **members: Any) -> dict[str, Any]:
        return {"model": "models/e", "content": {"parts": [{"text": text}]}, "outputDimensionality": 4, **members}

    wire = {"requests": [item("a", taskType="CLUSTERING"), item("b", taskType="CLUSTERING")]}
    request = gemini.batch.decode_request(body(wire))
    assert request == EmbeddingRequest("e", ("a", "b"), 4, provider_options={"google": {"taskType": "CLUSTERING"}})
    assert json.loads(gemini.batch.encode_request(request).body) == wire
    lost = openai.encode_request(request).losses
    assert [loss.what for loss in lost] == ["provider_options.google.taskType"]


def test_gemini_settings_that_differ_come_back_with_their_text() -> None:
    first = {"model": "models/e", "content": {"parts": [{"text": "a"}, {"text": "b"}]}, "taskType": "RETRIEVAL_QUERY"}
    second = {"model": "models/e", "content": {"parts": [{"text": "c"}]}, "title": "C"}
    request = gemini.batch.decode_request(body({"requests": [first, second]}))
    assert request.inputs == ("a\nb", "c")
    assert json.loads(gemini.batch.encode_request(request).body) == {"requests": [first, second]}


@pytest.mark.parametrize(
    "item",
    [{}, {"content": {}}, {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]}}],
)
def test_a_gemini_content_without_text_is_refused(item: dict[str, Any]) -> None:
    for codec, wire in ((gemini.one, item), (gemini.batch, {"requests": [item]})):
        with pytest.raises(InvalidRequest, match="content"):
            codec.decode_request(body(wire))


def test_a_batch_is_for_one_model() -> None:
    content = {"parts": [{"text": "a"}]}
    wire = {"requests": [{"model": "models/a", "content": content}, {"model": "models/b", "content": content}]}
    with pytest.raises(InvalidRequest, match="one model"):
        gemini.batch.decode_request(body(wire))


@EXAMPLES
@given(st.lists(vectors, min_size=1, max_size=3), st.none() | st.integers(0, 10**6))
def test_vectors_and_counts_go_through_every_form_whole(found: list[tuple[float, ...]], tokens: int | None) -> None:
    """Base64 has 32 bits a number, which is all that models give."""
    response = EmbeddingResponse("m", tuple(found), Usage(input_tokens=tokens))
    for encoding in ("float", "base64", None):
        encoded = openai.encode_response(response, encoding=encoding)
        assert openai.decode_response(encoded.body) == response
        assert bool(encoded.losses) is (tokens is None)
    decoded = gemini.batch.decode_response(gemini.batch.encode_response(response).body)
    assert decoded.vectors == response.vectors
    assert decoded.usage.input_tokens == tokens


def test_an_openai_answer_is_what_the_sdk_reads() -> None:
    response = EmbeddingResponse("m", ((0.5, -1.0),), Usage(input_tokens=3))
    read = CreateEmbeddingResponse.model_validate_json(openai.encode_response(response).body)
    assert (read.data[0].embedding, read.usage.prompt_tokens, read.model) == ([0.5, -1.0], 3, "m")
    written = json.loads(openai.encode_response(response, encoding="base64").body)["data"][0]["embedding"]
    assert base64.b64decode(written) == struct.pack("<2f", 0.5, -1.0)


def test_openai_vectors_come_in_the_order_of_their_indexes() -> None:
    data = [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}]
    assert openai.decode_response(body({"data": data})).vectors == ((1.0,), (2.0,))
    for wrong in ([{"index": 1, "embedding": [2]}], [{"index": 0, "embedding": [2]}] * 2):
        with pytest.raises(MalformedResponse, match="indexes"):
            openai.decode_response(body({"data": wrong}))


def test_the_endpoint_for_one_gives_one_and_says_what_it_left_out() -> None:
    encoded = gemini.one.encode_response(EmbeddingResponse("m", ((1.0,), (2.0,))))
    assert json.loads(encoded.body) == {"embedding": {"values": [1.0]}}
    assert [loss.what for loss in encoded.losses] == ["vectors"]


@pytest.mark.parametrize("written", ["%%", "AAA=", base64.b64encode(struct.pack("<f", float("nan"))).decode()])
def test_what_is_no_vector_is_malformed(written: str) -> None:
    with pytest.raises(MalformedResponse):
        openai.decode_response(body({"data": [{"index": 0, "embedding": written}]}))


def test_an_error_in_place_of_vectors_is_that_error() -> None:
    google = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Slow down"}}
    for codec in (gemini.one, gemini.batch):
        with pytest.raises(ProviderRateLimited):
            codec.decode_response(body(google))
    with pytest.raises(ProviderRateLimited):
        openai.decode_response(body({"error": {"message": "Slow down", "code": 429}}))


@every
@EXAMPLES
@given(
    value=st.binary(max_size=60)
    | json_values().map(body)
    | st.dictionaries(
        st.sampled_from(["data", "embedding", "embeddings", "input", "model", "requests", "content"]), json_values()
    ).map(body)
)
def test_any_bytes_are_a_value_or_a_typed_error(codec: EmbeddingCodec, value: bytes) -> None:
    with suppress(ProviderError):
        codec.encode_response(codec.decode_response(value))
    with suppress(InvalidRequest, UnsupportedFeature):
        codec.encode_request(codec.decode_request(value))
