"""compose.yaml as a user starts it: one service, keys from the environment, answers from the provider named there."""

from __future__ import annotations

import pytest
from tests.ops.asking import ADMIN_KEY, APP_KEY, CHAT, ask, message, wait_for
from tests.ops.compose import DEPLOY, Compose, composed, free_port
from tests.ops.engine import ROOT, Engine
from tests.ops.provider import SCRIPT

pytestmark = [pytest.mark.ops, pytest.mark.timeout(600)]


def test_one_service_answers_those_who_have_a_key(engine: Engine, image: str) -> None:
    environment = {
        "WAYPOST_IMAGE": image,
        "WAYPOST_PUBLISH": f"127.0.0.1:{free_port()}",
        "WAYPOST_ADMIN_KEY": ADMIN_KEY,
        "WAYPOST_APP_KEY": APP_KEY,
        "OPENAI_API_KEY": "any",
        "OPENAI_BASE_URL": "http://provider:8100/v1",
        "PROVIDER_SCRIPT": str(SCRIPT),
    }
    files = (DEPLOY / "compose.yaml", ROOT / "tests/ops/compose.provider.yaml")
    with composed(engine, "waypost-embedded", files, environment) as compose:
        wait_for(compose.url)
        assert ask(compose.url, CHAT, message("hello"), key=None).status == 401
        answer = ask(compose.url, CHAT, message("hello"))
        assert (answer.status, answer.json["choices"][0]["message"]["content"]) == (200, "hello")
        engine.podman("healthcheck", "run", compose.container("waypost").id)


def test_without_its_keys_it_is_not_started(engine: Engine) -> None:
    """A missing key is said at once, with how to make one."""
    with pytest.raises(RuntimeError, match="openssl rand -hex 24"):
        Compose(engine, "waypost-keyless", (DEPLOY / "compose.yaml",), {}).run("config")
