"""Google's embeddings (`:embedContent` and `:batchEmbedContents`), both ways: `one` text a request, or a `batch`.

Members that every request of a batch has alike are the batch's in the canonical form; those that differ are kept text
by text under `requests`. The model stands in the URL and in each request: decoding gives the body's, "" if it has none.
Contents that are no text are refused, since no canonical input is one.
"""

from __future__ import annotations

from typing import Final

from waypost.chat import EmbeddingRequest, EmbeddingResponse, Json, Usage
from waypost.chat.embedding import Encoding, Vector
from waypost.codecs.codec import EmbeddingCodec, Encoded
from waypost.codecs.gemini.errors import error_of, is_error
from waypost.codecs.gemini.usage import decode_usage
from waypost.codecs.gemini.wire import FAMILY, Losses, Members, camel_case, integer, repeated
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply, parse_request
from waypost.codecs.reading import WireError, an_object, join, optional, required, rest
from waypost.errors import InvalidRequest, MalformedResponse, UnsupportedFeature

REQUESTS: Final = "requests"
_PREFIX: Final = "models/"
_NOT_TOKENS: Final = "Gemini embeds texts, and cannot take the numbers of another vocabulary's tokens."
_ONE: Final = "This endpoint of Gemini's takes one text a request, and there are {}."


class GeminiEmbeddings:
    """See `codecs.codec.EmbeddingCodec`. `batch`: many texts a request, or one."""

    family: str = FAMILY

    def __init__(self, *, batch: bool) -> None:
        self.name = "gemini_batch_embed_contents" if batch else "gemini_embed_content"
        self._batch = batch

    def decode_request(self, body: bytes) -> EmbeddingRequest:
        """The request in a caller's body. Raises InvalidRequest, naming the place."""
        try:
            tree = camel_case(an_object(parse_request(body), ""))
            return _joined(_decode_batch(tree) if self._batch else [_decode(tree, "")])
        except JsonError as error:
            raise InvalidRequest(f"The request body is not valid JSON: {error}.") from error
        except WireError as error:
            raise InvalidRequest(str(error), param=error.path or None) from error

    def encode_request(self, request: EmbeddingRequest) -> Encoded:
        """The body to send. Raises UnsupportedFeature for tokens, and for many texts where one is taken."""
        losses = Losses()
        losses.foreign("provider_options", request.provider_options)
        if request.end_user_id is not None:
            losses.add("end_user_id", "Gemini's embeddings take no user.")
        if not self._batch and len(request.inputs) != 1:
            raise UnsupportedFeature(_ONE.format(len(request.inputs)), param="input")
        items = [_encode(request, at) for at in range(len(request.inputs))]
        data, repaired = dump({REQUESTS: items} if self._batch else items[0])
        if repaired:
            losses.repaired("inputs")
        return Encoded(data, losses.found())

    def decode_response(self, body: bytes) -> EmbeddingResponse:
        """Raises MalformedResponse; the typed ProviderError if the body is an error after all."""
        try:
            value = parse_reply(body)
            if is_error(value):
                raise error_of(value)
            return _decode_answer(an_object(value, ""), "embeddings" if self._batch else "embedding")
        except JsonError as error:
            raise MalformedResponse(f"The answer is not valid JSON: {error}.") from error
        except WireError as error:
            raise MalformedResponse(f"The answer is not Gemini's embeddings: {error}.") from error

    def encode_response(self, response: EmbeddingResponse, *, encoding: Encoding | None = None) -> Encoded:  # noqa: ARG002
        """The body of an answer. Vectors are always written as numbers, the one form there is."""
        losses = Losses()
        if not self._batch and len(response.vectors) > 1:
            losses.add("vectors", "This endpoint of Gemini's gives one vector: the first was written.")
        values: list[Members] = [{"values": vector} for vector in response.vectors]
        tokens = response.usage.input_tokens
        usage = {} if tokens is None else {"usageMetadata": {"promptTokenCount": tokens, "totalTokenCount": tokens}}
        body = {"embeddings": values} if self._batch else {"embedding": values[0] if values else {}}
        return Encoded(dump({**body, **usage})[0], losses.found())


def _decode_batch(tree: Members) -> list[EmbeddingRequest]:
    items = repeated(tree, REQUESTS, "")
    if not items:
        raise WireError(REQUESTS, "Field required, with at least one request")
    return [_decode(item, f"{REQUESTS}.{at}") for at, item in enumerate(items)]


def _decode_answer(answer: Members, name: str) -> EmbeddingResponse:
    vectors = tuple(_vector(item, f"{name}.{at}") for at, item in enumerate(repeated(answer, name, "")))
    if not vectors:
        raise WireError(name, "Field required")
    usage = optional(answer, "usageMetadata", dict, "")
    return EmbeddingResponse("", vectors, Usage() if usage is None else decode_usage(usage, "usageMetadata"))


def _decode(item: Members, path: str) -> EmbeddingRequest:
    content = required(item, "content", dict, path)
    at = join(path, "content")
    parts = repeated(content, "parts", at)
    texts = [required(part, "text", str, f"{at}.parts.{number}") for number, part in enumerate(parts)]
    if not texts:
        raise WireError(join(at, "parts"), "Field required, with at least one part")
    options = rest(item, "model", "content", "outputDimensionality")
    if len(texts) > 1:
        options["content"] = content
    model = (optional(item, "model", str, path) or "").removeprefix(_PREFIX)
    dimensions = integer(item, "outputDimensionality", path)
    return EmbeddingRequest(model, ("\n".join(texts),), dimensions, provider_options={FAMILY: options})


def _joined(items: list[EmbeddingRequest]) -> EmbeddingRequest:
    """One request for all. Raises WireError if they are for different models or sizes."""
    first = items[0]
    for item in items:
        if (item.model, item.dimensions) != (first.model, first.dimensions):
            raise WireError(REQUESTS, "All requests must be for one model and one outputDimensionality")
    options = [dict(item.provider_options[FAMILY]) for item in items]
    alike = {
        name: value
        for name, value in options[0].items()
        if name != "content" and all(name in each and each[name] == value for each in options)
    }
    different = [{name: value for name, value in each.items() if name not in alike} for each in options]
    kept: Members = {**alike, **({REQUESTS: different} if any(different) else {})}
    inputs = tuple(text for item in items for text in item.inputs)
    return EmbeddingRequest(first.model, inputs, first.dimensions, provider_options={FAMILY: kept} if kept else {})


def _encode(request: EmbeddingRequest, at: int) -> Members:
    text = request.inputs[at]
    if not isinstance(text, str):
        raise UnsupportedFeature(_NOT_TOKENS, hint="Send the texts themselves.", param=f"input[{at}]")
    options = dict(request.provider_options.get(FAMILY, {}))
    each: Json = options.pop(REQUESTS, None)
    own = each[at] if isinstance(each, list) and len(each) == len(request.inputs) and isinstance(each[at], dict) else {}
    size = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
    content = {"parts": [{"text": text}]}
    return {"model": f"{_PREFIX}{request.model}", "content": content, **size, **options, **own}


def _vector(item: Members, path: str) -> Vector:
    values = optional(item, "values", list, path) or []
    for at, value in enumerate(values):
        if type(value) not in (int, float):
            raise WireError(f"{path}.values.{at}", "Input should be a number")
    return tuple(map(float, values))


one: Final[EmbeddingCodec] = GeminiEmbeddings(batch=False)
batch: Final[EmbeddingCodec] = GeminiEmbeddings(batch=True)
