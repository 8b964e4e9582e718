"""Whether anything is sent, and where: by the settings and the standard variables."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from waypost.errors import ConfigurationError
from waypost.settings.otlp import OtlpSettings
from waypost.telemetry.otlp.configured import configured_otlp, told_of_traces
from waypost.telemetry.otlp.names import Peer
from waypost.telemetry.otlp.options import otlp_options
from waypost.telemetry.otlp.peers import is_own

ADDRESS = "http://collector:4318"


@pytest.mark.parametrize(
    ("settings", "environ", "sent"),
    [
        ({}, {}, None),
        ({"endpoint": ADDRESS}, {}, (True, True)),
        ({"endpoint": ADDRESS, "metrics": False}, {}, (True, False)),
        ({"endpoint": ADDRESS}, {"OTEL_SDK_DISABLED": "true"}, None),
        ({"endpoint": ADDRESS}, {"OTEL_SDK_DISABLED": "false"}, (True, True)),
        ({"endpoint": ADDRESS}, {"OTEL_TRACES_EXPORTER": "none"}, (False, True)),
        ({"endpoint": ADDRESS}, {"OTEL_METRICS_EXPORTER": "none"}, (True, False)),
        ({"endpoint": ADDRESS}, {"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ADDRESS}, (True, True)),
        ({}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{ADDRESS}/v1/traces"}, (True, False)),
        ({}, {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{ADDRESS}/v1/metrics"}, None),
    ],
)
def test_what_is_sent(settings: Mapping[str, Any], environ: Mapping[str, str], sent: tuple[bool, bool] | None) -> None:
    """Nothing without an address; each signal can be left out."""
    options = otlp_options(OtlpSettings(**settings), environ)
    assert (None if options is None else (options.traces, options.metrics)) == sent


def test_addresses() -> None:
    """The settings' address gets the signals' paths; where there is none, the exporters look for themselves."""
    options = otlp_options(OtlpSettings(endpoint=f"{ADDRESS}/"), {})
    assert options is not None
    assert options.address("traces") == f"{ADDRESS}/v1/traces"
    assert options.address("metrics") == f"{ADDRESS}/v1/metrics"
    by_environment = otlp_options(OtlpSettings(), {"OTEL_EXPORTER_OTLP_ENDPOINT": ADDRESS})
    assert by_environment is not None
    assert by_environment.address("traces") is None


@pytest.mark.parametrize(
    ("settings", "environ", "name"),
    [
        ({}, {}, "waypost"),
        ({"service_name": "mine"}, {"OTEL_SERVICE_NAME": "theirs"}, "mine"),
        ({}, {"OTEL_SERVICE_NAME": "theirs"}, None),
        ({}, {"OTEL_RESOURCE_ATTRIBUTES": "a=b,service.name=theirs"}, None),
    ],
)
def test_service_name(settings: Mapping[str, Any], environ: Mapping[str, str], name: str | None) -> None:
    """The settings' name, else the environment's, which the SDK reads, else ours."""
    options = otlp_options(OtlpSettings(endpoint=ADDRESS, **settings), environ)
    assert options is not None
    assert options.resource.get("service.name") == name


def test_missing_packages(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Who asks for it in the settings is told what to install; a variable of the platform's stops no server."""

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("waypost.telemetry.otlp.options.version", missing)
    with pytest.raises(ConfigurationError) as raised:
        configured_otlp(OtlpSettings(endpoint=ADDRESS), None, {})
    assert 'pip install "waypost[otlp]"' in raised.value.hint
    with caplog.at_level(logging.WARNING):
        assert configured_otlp(OtlpSettings(), None, {"OTEL_EXPORTER_OTLP_ENDPOINT": ADDRESS}) is None
    assert 'pip install "waypost[otlp]"' in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "collector:4317"},
        {"endpoint": "grpc://collector:4317"},
        {"endpoint": f"{ADDRESS}/v1/traces"},
        {"endpoint": "http://user:secret-word@collector:4318"},
        {"protocol": "grpc"},
        {"sample_ratio": 1.5},
        {"sample_ratio": True},
        {"propagate": "some"},
        {"headers": {"a b": "c"}},
        {"headers": {"a": "secret-word\n"}},
        {"queue": 0},
    ],
)
def test_refused(wrong: Mapping[str, Any]) -> None:
    """What cannot be is refused, and no value is repeated."""
    with pytest.raises(ValidationError) as raised:
        OtlpSettings(**wrong)
    assert "secret-word" not in str(raised.value)


def test_headers_are_hidden() -> None:
    """Keys for the collector are in no text form of the settings."""
    settings = OtlpSettings(endpoint=ADDRESS, headers={"authorization": "Bearer secret-word"})
    options = otlp_options(settings, {})
    assert options is not None
    assert options.headers["authorization"] == "Bearer secret-word"
    for text in (repr(settings), settings.model_dump_json(), repr(options)):
        assert "secret-word" not in text


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.1.2.3", True),
        ("192.168.0.9", True),
        ("169.254.1.1", True),
        ("fd12::1", True),
        ("8.8.8.8", False),
        ("2001:4860:4860::8888", False),
        ("localhost", True),
        ("vllm", True),
        ("vllm.models.svc", True),
        ("vllm.models.svc.cluster.local.", True),
        ("GPU.internal", True),
        ("api.openai.com", False),
        ("local.example.com", False),
        ("", False),
    ],
)
def test_own_network(address: str, own: bool) -> None:
    """Addresses that lead nowhere else, and names that no public server has."""
    assert is_own(address) == own


@pytest.mark.parametrize(
    ("settings", "told"),
    [({}, {"ours"}), ({"propagate": "none"}, set()), ({"propagate": "all"}, {"ours", "theirs"})],
)
def test_who_is_told(settings: Mapping[str, Any], told: set[str]) -> None:
    """Without a word in the settings, only providers in one's own network are told of traces."""
    peers = {"ours": Peer("vllm", "10.0.0.1", 8000), "theirs": Peer("openai", "api.openai.com", 443)}
    assert told_of_traces(OtlpSettings(**settings), peers) == told
