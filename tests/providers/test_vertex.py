"""providers/vertex.py with the real google-auth: a service account's key, a token server and Vertex, on loopback."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from waypost.errors import ProviderAuthenticationError, ProviderUnreachable
from waypost.manager.provider import ModelProvider
from waypost.providers.registry import create_providers
from waypost.providers.vertex import VertexAccount
from waypost.settings import Settings

if TYPE_CHECKING:
    from tests.transport.raw_server import RawConnection, Script, StartRawServer


FIXTURES = Path(__file__).parents[1] / "fixtures/gemini"
EMAIL = "waypost@our-project.iam.gserviceaccount.com"
TARGET = "/v1/projects/our-project/locations/europe-west4/publishers/google/models/gemini-2.5-flash"


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def credentials(tmp_path: Path, key: rsa.RSAPrivateKey, token_url: str) -> Path:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "service-account.json"
    file.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "our-project",
                "private_key_id": "1",
                "private_key": pem.decode(),
                "client_email": EMAIL,
                "token_uri": f"{token_url}/token",
            }
        )
    )
    return file


def vertex(base_url: str, file: Path | None) -> ModelProvider:
    provider = {
        "kind": "vertex",
        "project": "our-project",
        "region": "europe-west4",
        "base_url": base_url,
        "credentials_file": str(file) if file else None,
    }
    return ModelProvider(create_providers(Settings.model_validate({"providers": {"cloud": provider}}))["cloud"])


def token_server(seen: list[bytes], status: str = "200 OK") -> Script:
    from tests.transport.raw_server import http_reply

    granted = {"access_token": f"token-of-{len(seen) + 1}", "expires_in": 3600, "token_type": "Bearer"}
    refused = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    body = json.dumps(granted if status == "200 OK" else refused).encode()

    async def script(connection: RawConnection) -> None:
        seen.append(await connection.request())
        await connection.send(http_reply(body, status=status, headers="content-type: application/json\r\n"))

    return script


def gemini_server(seen: list[bytes]) -> Script:
    from tests.transport.raw_server import STREAM_HEAD, http_chunk, http_reply

    async def script(connection: RawConnection) -> None:
        while True:
            seen.append(await connection.request())
            if b":streamGenerateContent" in seen[-1]:
                await connection.send(STREAM_HEAD + http_chunk((FIXTURES / "text.sse").read_bytes()) + http_chunk(b""))
            else:
                body = (FIXTURES / "text.json").read_bytes()
                await connection.send(http_reply(body, headers="content-type: application/json\r\n"))

    return script


async def test_a_service_account_gets_a_token_once_and_asks_gemini_with_it(
    raw_server: StartRawServer, tmp_path: Path, private_key: rsa.RSAPrivateKey
) -> None:
    tokens: list[bytes] = []
    asked: list[bytes] = []
    token_url = (await raw_server(token_server(tokens))).url
    provider = vertex((await raw_server(gemini_server(asked))).url, credentials(tmp_path, private_key, token_url))
    whole = await provider.generate_response("hello")
    streamed = "".join([piece async for piece in provider.stream_response("hello")])
    await provider.close()
    assert whole.content
    assert streamed
    assert [request.split(b" HTTP")[0].decode() for request in asked] == [
        f"POST {TARGET}:generateContent",
        f"POST {TARGET}:streamGenerateContent?alt=sse",
    ]
    assert all(b"authorization: bearer token-of-1\r\n" in request.lower() for request in asked)
    assert len(tokens) == 1
    form = parse_qs(tokens[0].partition(b"\r\n\r\n")[2].decode())
    claims = json.loads(base64.urlsafe_b64decode(form["assertion"][0].split(".")[1] + "=="))
    assert (claims["iss"], claims["scope"]) == (EMAIL, "https://www.googleapis.com/auth/cloud-platform")


async def test_without_a_file_the_machines_own_credentials_are_used(
    raw_server: StartRawServer, tmp_path: Path, private_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    token_url = (await raw_server(token_server([]))).url
    file = credentials(tmp_path, private_key, token_url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    provider = vertex((await raw_server(gemini_server(asked))).url, None)
    await provider.generate_response("hello")
    await provider.close()
    assert b"authorization: bearer token-of-1\r\n" in asked[0].lower()


async def test_a_refused_account_is_told_as_our_fault(
    raw_server: StartRawServer, tmp_path: Path, private_key: rsa.RSAPrivateKey
) -> None:
    asked: list[bytes] = []
    token_url = (await raw_server(token_server([], "400 Bad Request"))).url
    provider = vertex((await raw_server(gemini_server(asked))).url, credentials(tmp_path, private_key, token_url))
    with pytest.raises(ProviderAuthenticationError, match="Check the provider's credentials_file") as caught:
        await provider.generate_response("hello")
    await provider.close()
    assert (caught.value.provider, asked) == ("cloud", [])


async def test_a_token_server_that_is_away_is_told(
    tmp_path: Path, private_key: rsa.RSAPrivateKey, unused_tcp_port: int
) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}"
    provider = vertex(address, credentials(tmp_path, private_key, address))
    with pytest.raises(ProviderUnreachable, match="Google's token server cannot be reached"):
        await provider.generate_response("hello")
    await provider.close()


@pytest.mark.parametrize(
    ("account", "address"),
    [
        (VertexAccount("p"), "https://aiplatform.googleapis.com/v1/projects/p/locations/global"),
        (
            VertexAccount("p", "europe-west4"),
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4",
        ),
    ],
)
def test_the_address_names_project_and_region(account: VertexAccount, address: str) -> None:
    assert account.base_url(None) == address
