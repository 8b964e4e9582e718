"""Which traces are kept."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from waypost.telemetry.sampling import Sampler, sampler_from
from waypost.telemetry.trace_context import TraceContext, new_trace_id

KEPT = TraceContext("1" * 32, "2" * 16, is_sampled=True)
LEFT_OUT = TraceContext("1" * 32, "2" * 16, is_sampled=False)


def test_decides_as_others_do() -> None:
    """For the same trace the SDK's sampler comes to the same decision, so that no trace is kept by halves."""
    theirs, ours, kept = TraceIdRatioBased(0.3), Sampler(0.3), 0
    for _ in range(2000):
        trace_id = new_trace_id()
        is_kept = theirs.should_sample(None, int(trace_id, 16), "any").decision is Decision.RECORD_AND_SAMPLE
        assert ours.keeps(trace_id) == is_kept
        kept += is_kept
    assert 450 < kept < 750


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 0), (1.0, 50)])
def test_ends(ratio: float, kept: int) -> None:
    """0 keeps none, 1 keeps all."""
    assert sum(Sampler(ratio).keeps(new_trace_id()) for _ in range(50)) == kept


def test_caller_has_decided() -> None:
    """A caller's trace is kept as he decided, unless the sampler is told to heed nobody."""
    assert Sampler(0.0).keeps(KEPT.trace_id, KEPT)
    assert not Sampler(1.0).keeps(LEFT_OUT.trace_id, LEFT_OUT)
    assert not Sampler(0.0, heeds_parent=False).keeps(KEPT.trace_id, KEPT)
    assert Sampler(1.0, heeds_parent=False).keeps(LEFT_OUT.trace_id, LEFT_OUT)


@pytest.mark.parametrize(
    ("name", "argument", "sampler"),
    [
        ("", "", Sampler(1.0)),
        ("always_on", "", Sampler(1.0, heeds_parent=False)),
        ("ALWAYS_OFF", "", Sampler(0.0, heeds_parent=False)),
        ("traceidratio", "0.25", Sampler(0.25, heeds_parent=False)),
        ("parentbased_always_on", "", Sampler(1.0)),
        ("parentbased_always_off", "", Sampler(0.0)),
        ("parentbased_traceidratio", "0.25", Sampler(0.25)),
        ("parentbased_traceidratio", "many", Sampler(1.0)),
        ("parentbased_traceidratio", "nan", Sampler(1.0)),
        ("parentbased_traceidratio", "7", Sampler(1.0)),
        ("jaeger_remote", "", Sampler(1.0)),
    ],
)
def test_environment(name: str, argument: str, sampler: Sampler) -> None:
    """The standard variables are heeded; what cannot be read of them keeps everything."""
    environ = {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert sampler_from(None, {key: value for key, value in environ.items() if value}) == sampler
    assert sampler_from(0.5, environ) == Sampler(0.5), "the settings come first"
