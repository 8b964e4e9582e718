"""Signatures: what others make of ours, and what is refused."""

from __future__ import annotations

import base64
import subprocess

import pytest
from tests.transport.certificates import needs_openssl

from waypost.settings.webhooks import webhook_key
from waypost.webhooks import SignatureRefused, verify
from waypost.webhooks.signing import TOLERANCE_S, derived_secret, new_secret, signed_headers

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
BODY = b'{"type":"job.succeeded"}'
AT_S = 1_795_694_400


def signed(*secrets: str) -> dict[str, str]:
    return signed_headers("msg_1", BODY, secrets or [SECRET], at_s=AT_S)


@needs_openssl
def test_openssl_makes_the_same_signature() -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_")).hex()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    made = subprocess.run(command, input=b"msg_1.%d." % AT_S + BODY, capture_output=True, check=True).stdout
    assert signed()["webhook-signature"] == f"v1,{base64.b64encode(made).decode()}"
    assert (signed()["webhook-id"], signed()["webhook-timestamp"]) == ("msg_1", str(AT_S))


def test_what_is_signed_is_verified_and_gives_its_id() -> None:
    headers = {name.title(): value for name, value in signed().items()}
    assert verify(headers, BODY, SECRET, now_s=AT_S) == "msg_1"
    assert verify(headers, BODY, [OTHER, SECRET], now_s=AT_S) == "msg_1"


def test_a_message_with_two_signatures_is_good_for_who_knows_either_secret() -> None:
    headers = signed(OTHER, SECRET)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OTHER):
        assert verify(headers, BODY, secret, now_s=AT_S) == "msg_1"
    with pytest.raises(SignatureRefused):
        verify(headers, BODY, new_secret(), now_s=AT_S)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(AT_S + 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "٣"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "\ud800"},
        {"webhook-signature": signed()["webhook-signature"].replace("v1,", "v2,")},
        {"webhook-signature": "v1,x " * 20 + signed()["webhook-signature"]},
    ],
)
def test_any_change_of_the_headers_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        verify({**signed(), **change}, BODY, SECRET, now_s=AT_S)


def test_a_change_of_the_body_is_refused() -> None:
    with pytest.raises(SignatureRefused):
        verify(signed(), BODY + b" ", SECRET, now_s=AT_S)
    with pytest.raises(SignatureRefused):
        verify({}, BODY, SECRET, now_s=AT_S)


@pytest.mark.parametrize(
    ("late_s", "is_good"), [(TOLERANCE_S, True), (TOLERANCE_S + 1, False), (-TOLERANCE_S - 1, False)]
)
def test_one_that_is_too_old_or_from_the_future_is_refused(late_s: int, is_good: bool) -> None:
    if is_good:
        verify(signed(), BODY, SECRET, now_s=AT_S + late_s)
        return
    with pytest.raises(SignatureRefused, match="300 s"):
        verify(signed(), BODY, SECRET, now_s=AT_S + late_s)


def test_each_project_has_a_secret_of_its_own_and_always_the_same() -> None:
    ids = (None, "local", "project_1", "project_2", "")
    secrets = [derived_secret(SECRET, project_id) for project_id in ids]
    assert len({SECRET, *secrets}) == len(ids) + 1
    assert secrets == [derived_secret(SECRET, project_id) for project_id in ids]
    assert all(len(webhook_key(secret)) == 32 for secret in secrets)
    assert derived_secret(OTHER, "local") != derived_secret(SECRET, "local")


def test_one_project_cannot_sign_in_another_s_name() -> None:
    own, foreign = (derived_secret(SECRET, project_id) for project_id in ("project_1", "project_2"))
    with pytest.raises(SignatureRefused):
        verify(signed_headers("msg_1", BODY, [own], at_s=AT_S), BODY, foreign, now_s=AT_S)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_AAAA", "whsec_!", SECRET.removeprefix("whsec_"), "whsec_" + "A" * 100]
)
def test_what_is_no_secret_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="must be whsec_") as refused:
        webhook_key(secret)
    assert len(secret) < 8 or secret not in str(refused.value)
