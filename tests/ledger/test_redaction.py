"""What is stored of bodies: no secret that was planted in one survives, and the time it takes is linear."""

from __future__ import annotations

import base64
import json
import time
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waypost.ledger.key_text import new_key_text
from waypost.ledger.redaction import LIMIT_BYTES, SECRET, redacted
from waypost.telemetry.secret_shapes import SHAPES, is_secret_name

LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
UPPER = "ABCDEFGHJKLMNPQRSTUVWXYZ234567"


def drawn(size: int, letters: str = LETTERS) -> st.SearchStrategy[str]:
    return st.text(letters, min_size=size, max_size=size).filter(lambda text: len(set(text)) > 5)


KEYS = st.one_of(
    drawn(43).map("wp_{}".format),
    drawn(43).map("wpa_{}".format),
    drawn(48).map("sk-{}".format),
    drawn(40).map("sk-proj-{}".format),
    st.tuples(drawn(30), drawn(60)).map("sk-ant-api03-{0[0]}_{0[1]}AA".format),
    drawn(35).map("AIzaSy{}".format),
    drawn(16, UPPER).map("AKIA{}".format),
    drawn(36).map("ghp_{}".format),
    drawn(50).map("gsk_{}".format),
    drawn(34).map("hf_{}".format),
    st.tuples(drawn(20), drawn(60), drawn(43)).map("eyJ{0[0]}.eyJ{0[1]}.{0[2]}".format),
)
"""Keys of known shapes."""
BLOCKS = drawn(64).map(
    lambda line: f"-----BEGIN RSA PRIVATE KEY-----\n{line}\n{line[::-1]}\n-----END RSA PRIVATE KEY-----"
)
BEARERS = drawn(30).map("Authorization: Bearer {}".format)
NAMED = st.tuples(
    st.sampled_from(["password", "api_key", "OPENAI_API_KEY", "x-api-key", "client_secret", "DB-Password", "cookie"]),
    drawn(14),
)
SEPARATORS = st.sampled_from([" ", "\n", ": ", '"', "=", "(", "\t", ", ", "/", ""])
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10)
PLANTED = st.one_of(KEYS, BLOCKS, BEARERS, NAMED.map("{0[0]}={0[1]}".format), NAMED.map('{0[0]}: "{0[1]}"'.format))
"""Secrets as they stand in a text."""


def trees(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    leaves = leaf | TEXTS | st.integers(-(2**53), 2**53) | st.booleans() | st.none()
    return st.recursive(
        leaves, lambda held: st.lists(held, max_size=3) | st.dictionaries(TEXTS, held, max_size=3), max_leaves=8
    )


def secret_in(planted: str) -> str:
    """What of it must not survive."""
    for mark in ("Bearer ", "=", ': "'):
        planted = planted.rpartition(mark)[2]
    return planted.strip('"')


def survivors(planted: str, kept: str) -> list[str]:
    """Pieces of the secret that are still there. A dozen characters are enough to know it again."""
    secret = secret_in(planted)
    kept = kept.replace("\\n", "\n")
    pieces = [secret[at : at + 12] for at in range(max(1, len(secret) - 11))]
    return [piece for piece in pieces if piece in kept and not piece.startswith(("-----BEGIN", "-----END"))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), PLANTED, SEPARATORS, TEXTS)
def test_no_secret_in_json_survives(data: st.DataObject, planted: str, before: str, after: str) -> None:
    """In a text or a member's name, at any depth, also in JSON that is itself a text."""
    text = f"{before}{planted} {after}"
    value = data.draw(trees(st.just(text)))
    tree = {"some": value, "more": [text, {text: 1}], "arguments": json.dumps({"a": [text], text: None})}
    kept = redacted(json.dumps(tree).encode(), 10**6)
    assert survivors(planted, kept) == []
    assert json.loads(kept)["more"][0] is not None


@settings(max_examples=150, deadline=None)
@given(NAMED, st.sampled_from(["text", "number", "list", "map", "escaped"]))
def test_what_members_with_telling_names_hold_does_not_survive(named: tuple[str, str], form: str) -> None:
    name, secret = named
    held: Any = {
        "text": secret,
        "number": 123456789012,
        "list": [secret],
        "map": {"value": secret},
        "escaped": f'"{secret}\\"{secret}',
    }[form]
    outer = {"headers": {name: held}, "arguments": json.dumps({name: held})}
    # Of JSON that is broken, maps are not understood.
    bodies = [json.dumps(outer), f"data: {json.dumps(outer)}\n\n", json.dumps(outer) + "}" * (form != "map")]
    for body in bodies:
        kept = redacted(body.encode())
        assert secret not in kept
        assert "123456789012" not in kept
        assert SECRET in kept


@settings(max_examples=150, deadline=None)
@given(PLANTED, st.lists(st.integers(1, 9), min_size=2, max_size=40), TEXTS.filter(lambda text: "\n" not in text))
def test_no_secret_that_a_stream_gives_piece_by_piece_survives(planted: str, sizes: list[int], before: str) -> None:
    """Whatever the dialect, and wherever it is cut."""
    text, pieces = f"{before} {planted} and on", []
    for size in sizes:
        pieces.append(text[:size])
        text = text[size:]
    pieces.append(text)
    dialects: dict[str, list[Any]] = {
        "openai": [{"id": "c", "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces],
        "anthropic": [
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": piece}}
            for piece in pieces
        ],
        "responses": [
            {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": piece}
            for piece in pieces
        ],
        "gemini": [{"candidates": [{"content": {"parts": [{"text": piece}]}}]} for piece in pieces],
    }
    for events in dialects.values():
        stream = "".join(f"event: x\ndata: {json.dumps(event)}\n\n" for event in events)
        for body in (stream, json.dumps(events), "\n".join(json.dumps(event) for event in events)):
            assert survivors(planted, _told(redacted(body.encode(), 10**6))) == []


def _told(kept: str) -> str:
    """What a reader would put together of the pieces."""
    whole = kept
    for line in [kept, *kept.splitlines()]:
        try:
            value = json.loads(line.removeprefix("data: "))
        except ValueError:
            continue
        whole += "".join(_texts(value))
    return whole


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in held for text in _texts(each)]


def test_two_streams_of_pieces_that_take_turns_are_each_put_together() -> None:
    secret = "sk-ant-api03-abcdefghijklmnop"
    events = []
    for at in range(0, len(secret), 5):
        for index, text in ((0, secret[at : at + 5]), (1, "other")):
            events.append({"choices": [{"index": index, "delta": {"content": text}}]})
    kept = redacted("".join(f"data: {json.dumps(event)}\n\n" for event in events).encode())
    assert "[redacted]" in kept
    assert kept.count('"other"') == 6
    assert not any(secret[at : at + 5] in kept for at in range(0, len(secret), 5) if at)


@settings(max_examples=100, deadline=None)
@given(PLANTED, SEPARATORS, st.binary(max_size=40))
def test_no_secret_in_bytes_that_are_no_json_survives(planted: str, before: str, noise: bytes) -> None:
    body = noise + b"\n" + before.encode() + planted.encode() + b"\n" + noise
    kept = redacted(body)
    assert survivors(planted, kept) == []
    assert "\x00" not in kept


def test_keys_that_are_made_here_are_known() -> None:
    for is_admin in (True, False):
        key = new_key_text(is_admin=is_admin)
        assert redacted(json.dumps({"content": f"my key is {key}."}).encode()) == '{"content":"my key is [redacted]."}'


@pytest.mark.parametrize(
    "text",
    [
        "The disk-usage-and-task-scheduling-of-risk-management is fine.",
        "max_tokens=100, top_k: 5, the key to success; a token is a piece of a word.",
        "Ask for a model: gpt-5-mini, claude-sonnet-4-5-20250929 or gemini-2.5-flash-preview-05-20.",
        "req_0f9c3d2e1a0b4c5d8e7f6a5b4c3d2e1f 8d5e957f-2974-4c5a-a6f7-1c2d3e4f5a6b",
        "ünïcödé 漢字 🙂 “quotes”",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 10, "logprobs": [{"token": "a"}]}
    assert json.loads(redacted(json.dumps(body).encode())) == body
    assert redacted(text.encode()) == text


@pytest.mark.parametrize("url_safe", [False, True])
def test_media_is_told_by_its_size_and_hash(url_safe: bool) -> None:
    """Those of the file itself, however it is encoded or wrapped."""
    data = bytes(range(256)) * 40
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    encoded, told = encode(data).decode(), f"[10240 bytes, sha256 {sha256(data).hexdigest()}]"
    body = {
        "source": {"type": "base64", "media_type": "image/png", "data": encoded},
        "image_url": {"url": f"data:image/png;base64,{encoded}"},
        "wrapped": "\r\n".join(encoded[at : at + 76] for at in range(0, len(encoded), 76)),
        "content": f"Look: {encoded} there",
        "bare": encoded.rstrip("="),
    }
    kept = json.loads(redacted(json.dumps(body).encode()))
    assert kept["source"]["data"] == kept["wrapped"] == kept["bare"] == told
    assert kept["image_url"]["url"] == f"data:image/png;base64,{told}"
    assert kept["content"] == f"Look: {told} there"


@pytest.mark.parametrize("limit", [0, 5, 40, 1024, LIMIT_BYTES])
@pytest.mark.parametrize("text", ["é" * 100_000, "漢字", "", '{"a":"' + "🙂" * 30_000 + '"}'])
def test_what_is_kept_is_never_longer_than_the_limit(text: str, limit: int) -> None:
    kept = redacted(text.encode(), limit)
    size = len(kept.encode())
    assert size <= limit
    assert kept == text or "[cut: " in kept or limit < 40
    assert size == len(text.encode()) or size >= limit - 3


def test_a_secret_is_not_cut_into_one_that_nobody_knows_any_more() -> None:
    key = "sk-ant-api03-" + "x1" * 40
    body = json.dumps({"a": "y " * 490 + key, "b": "z" * 2000}).encode()
    assert "x1x1" not in redacted(body, 1024)


@pytest.mark.parametrize(
    "body", [b"\xff\xfe\x00", b"\x00", b'"\\ud800"', b"[" * 100_000, b'{"a":' * 5000, b"data: \ndata:{", b"{}\n{"]
)
def test_whatever_the_bytes_are_text_for_any_database_comes_out(body: bytes) -> None:
    kept = redacted(body)
    assert "\x00" not in kept
    kept.encode()


def test_levels_beyond_those_that_are_looked_at_are_left_out() -> None:
    deep: Any = "sk-ant-api03-abcdefghijklmnop"
    for _ in range(300):
        deep = [deep]
    assert "more levels" in redacted(json.dumps({"deep": deep}).encode())
    assert "abcdef" not in redacted(json.dumps({"deep": deep}).encode())


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("authorization", True),
        ("Proxy-Authorization", True),
        ("X-Goog-Api-Key", True),
        ("awsSecretAccessKey", True),
        ("refresh_token", True),
        ("max_tokens", False),
        ("token", False),
        ("keys", False),
        ("content", False),
        ("secretary", False),
    ],
)
def test_names(name: str, is_secret: bool) -> None:
    assert is_secret_name(name) is is_secret


HOSTILE = [
    *(letters for shape in SHAPES for letters in shape.letters),
    *(
        "eyJ-",
        "eyJa.",
        "sk-a",
        "bearer ",
        "Bearer\t",
        "password:",
        'password="',
        "secret = ",
        "api key",
        "data:;base64,",
        "data:",
    ),
    *(
        "-----BEGIN PRIVATE KEY",
        "-----BEGIN ",
        "-----END ",
        "A",
        "ab/+",
        "\\n",
        "%20",
        '{"a":',
        "[",
        '"',
        "data: {}\n",
        "{\n",
        "\\u0020",
    ),
]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("as_json", [False, True])
def test_the_time_is_linear_in_the_length(piece: str, as_json: bool) -> None:
    """Four times the text takes no more than some six times as long, whatever it is made of."""

    def taken(size: int) -> float:
        text = piece * (size // len(piece))
        body = (json.dumps({"content": text}) if as_json else text).encode()
        best = float("inf")
        for _ in range(3):
            begun = time.process_time()
            redacted(body)
            best = min(best, time.process_time() - begun)
        return best

    small, large = taken(50_000), taken(200_000)
    assert large < 6 * small + 0.05
