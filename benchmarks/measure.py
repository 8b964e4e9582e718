"""The measurements: what is done to the running gateways, and in which order.

All CPU figures are of the gateway's processes by the kernel's account, divided by what was done meanwhile. Gateways are
measured in turn, round by round, and the order is reversed every other round. What fails is noted and left out; the
rest goes on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from benchmarks import loads
from benchmarks.goals import NO_LEDGER, ONE_WORKER, OURS, SAME_DIALECT, Measured
from benchmarks.loads import Load, Outcome
from benchmarks.peers import Gateway, Waypost
from benchmarks.processes import BenchmarkError, Running, undisturbed

STREAM_LASTS_S = 4.08
"""One paced stream: 204 events, one every 20 ms. Windows are whole multiples, so that each sees as many beginnings."""
OPEN_STREAMS = 1000
JSON_CONNECTIONS = 32
STREAM_CONNECTIONS = 8
END_S = 0.25
"""The load goes on for as long after the window."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How often and how long is measured."""

    rounds: int = 9
    stream_rounds: int = 5
    paced_rounds: int = 3
    window_s: float = 2.75
    paced_windows: int = 2
    warm_up_s: float = 1
    paced_counts: Sequence[int] = (200, 400)
    starts: int = 3


QUICK = Effort(
    rounds=3,
    stream_rounds=2,
    paced_rounds=1,
    window_s=1.25,
    warm_up_s=0.5,
    paced_windows=1,
    paced_counts=(200,),
    starts=1,
)


@dataclass(frozen=True, slots=True)
class Contender:
    """A gateway and its running server."""

    gateway: Gateway
    server: Running

    @property
    def name(self) -> str:
        """The gateway's."""
        return self.gateway.name

    @property
    def slow(self) -> bool:
        """Whether it gets fewer rounds and less load, so that a run ends."""
        return self.gateway.paced_connections is not None


@dataclass(slots=True)
class Bench:
    """What a run has: the fake provider, how much effort is made, and what was found so far."""

    provider: Running
    folder: Path
    waypost: Waypost
    effort: Effort
    say: Callable[[str], None]
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def add(self, work: str, name: str, value: float) -> None:
        """One more sample."""
        self.samples.setdefault(work, {}).setdefault(name, []).append(value)

    def note(self, work: str, text: str) -> None:
        """Something that a reader of that row must know."""
        self.say(f"{work}: {text}")
        self.notes.setdefault(work, []).append(text)

    def drop(self, work: str, name: str) -> None:
        """Forget the samples of somebody who failed half-way."""
        self.samples.get(work, {}).pop(name, None)

    def measured(self, work: str) -> Measured:
        """What was found about that work."""
        return Measured(self.samples.get(work, {}), self.notes.get(work, ()))


Step = tuple[str, Callable[[], float]]
"""Whose figure it is, and how to get one sample."""


def in_turn(bench: Bench, work: str, steps: Sequence[Step], rounds: int) -> None:
    """Take `rounds` samples of each, in turn; one that fails is left out from then on."""
    left = list(steps)
    for number in range(rounds):
        for name, sample in list(left if number % 2 == 0 else reversed(left)):
            try:
                bench.add(work, name, sample())
            except (BenchmarkError, OSError) as error:
                bench.drop(work, name)
                bench.note(work, f"{name} failed: {error}")
                left = [step for step in left if step[0] != name]
    found = ", ".join(f"{name} {bench.measured(work).figure(name) or 0:.4g}" for name in bench.samples.get(work, {}))
    bench.say(f"{work}: {found or 'nothing'}")


def json_requests(bench: Bench, contenders: Sequence[Contender]) -> None:
    """CPU a JSON request, and how many a second one core does."""

    def sample(contender: Contender) -> float:
        figure, seen = cpu_us(bench, loads.JSON, contender)
        bench.add("rate", contender.name, seen.rate)
        return figure

    in_turn(bench, "json", _steps(contenders, sample), _rounds(bench.effort.rounds, contenders))


def streams(bench: Bench, contenders: Sequence[Contender]) -> None:
    """CPU a stream whose events come at once."""
    steps = _steps(contenders, partial(_cpu_us, bench, loads.STREAM))
    in_turn(bench, "stream", steps, _rounds(bench.effort.stream_rounds, contenders))


def paced_streams(bench: Bench, contenders: Sequence[Contender]) -> None:
    """CPU an event where many streams are open and each has one every 20 ms."""
    for count in bench.effort.paced_counts:
        work = f"paced_{count}"
        fewer = {one.name: one.gateway.paced_connections for one in contenders if one.gateway.paced_connections}
        for name, connections in fewer.items():
            bench.note(work, f"{name} with {connections} streams: one core does not carry more")
        steps = _steps(contenders, partial(event_us, bench, count))
        in_turn(bench, work, steps, _rounds(bench.effort.paced_rounds, contenders))


def translated(bench: Bench, contenders: Sequence[Contender]) -> None:
    """The same from a provider of another dialect, beside the same dialect."""
    pairs = {
        "translated_json": (loads.TRANSLATED_JSON, loads.JSON),
        "translated_stream": (loads.TRANSLATED_STREAM, loads.STREAM),
    }
    for work, (other, same) in pairs.items():
        steps = _steps(contenders, partial(_cpu_us, bench, other))
        ours = [one for one in contenders if one.name == OURS]
        steps += [(SAME_DIALECT, partial(_cpu_us, bench, same, one)) for one in ours]
        in_turn(bench, work, steps, _rounds(bench.effort.stream_rounds, contenders))


def added_latency(bench: Bench, contenders: Sequence[Contender]) -> None:
    """What half the load that it can bear waits longer than the same load straight at the fake provider."""
    for one in contenders:
        try:
            rate = bench.measured("rate").figure(one.name) or cpu_us(bench, loads.JSON, one)[1].rate
            for _ in range(_rounds(bench.effort.paced_rounds, contenders)):
                _add_latency(bench, one, rate / 2)
            p50, p99 = (bench.measured(work).figure(one.name) for work in ("latency_p50", "latency_p99"))
            bench.say(f"latency: {one.name} at {rate / 2:.0f}/s: +{p50:.3f} ms, p99 +{p99:.3f} ms")
        except (BenchmarkError, OSError) as error:
            bench.note("latency_p50", f"{one.name} failed: {error}")


def _add_latency(bench: Bench, contender: Contender, rate: float) -> None:
    with undisturbed(contender.server.pid, bench.provider.pid) as allowed:
        through = _at_rate(bench, contender.server, rate)
        direct = _at_rate(bench, bench.provider, rate)
    if not allowed:
        bench.note("latency_p99", "without real-time priority: what else the machine did is in the figure")
    bench.add("latency_p50", contender.name, through.p50_ms - direct.p50_ms)
    bench.add("latency_p99", contender.name, through.p99_ms - direct.p99_ms)


def open_streams(bench: Bench, contenders: Sequence[Contender]) -> None:
    """Memory with a thousand open streams that have an event every two seconds."""
    for one in contenders:
        try:
            bench.add("rss_streams", one.name, _peak_rss_mb(bench, one))
        except (BenchmarkError, OSError) as error:
            bench.note("rss_streams", f"{one.name} failed: {error}")
    bench.say(f"rss_streams: {bench.samples.get('rss_streams')}")


def workers(bench: Bench, contenders: Sequence[Contender]) -> None:
    """Two worker processes beside one, on the same core."""
    ours = next((one for one in contenders if one.name == OURS), None)
    if ours is None:
        return
    if not bench.waypost.has_workers:
        bench.note("workers", "skipped: `waypost serve` has no --workers here")
        return
    with ours.gateway.running(bench.provider.url, bench.folder, workers=2) as server:
        both = replace(ours, server=server)
        steps: list[Step] = [
            (OURS, partial(_cpu_us, bench, loads.JSON, both)),
            (ONE_WORKER, partial(_cpu_us, bench, loads.JSON, ours)),
        ]
        in_turn(bench, "workers", steps, bench.effort.rounds)


def ledger(bench: Bench, contenders: Sequence[Contender]) -> None:
    """The same requests beside a server that writes nothing down. What brings records into the database counts too."""
    ours = next((one for one in contenders if one.name == OURS), None)
    if ours is None:
        return
    with ours.gateway.running(bench.provider.url, bench.folder, ledger=False) as server:
        without = replace(ours, server=server)
        steps: list[Step] = [
            (OURS, partial(_cpu_us, bench, loads.JSON, ours)),
            (NO_LEDGER, partial(_cpu_us, bench, loads.JSON, without)),
        ]
        in_turn(bench, "ledger", steps, bench.effort.rounds)


def starts(bench: Bench, contenders: Sequence[Contender]) -> None:
    """Seconds from the command to the first healthy answer."""
    for one in contenders:
        bench.add("start", one.name, one.server.start_s)
        for number in range(1, 1 if one.slow else bench.effort.starts):
            folder = bench.folder / f"start-{number}"
            with one.gateway.running(bench.provider.url, folder) as server:
                bench.add("start", one.name, server.start_s)
    bench.say(f"start: {bench.samples.get('start')}")


GROUPS: Mapping[str, Callable[[Bench, Sequence[Contender]], None]] = {
    "start": starts,
    "json": json_requests,
    "stream": streams,
    "paced": paced_streams,
    "translated": translated,
    "latency": added_latency,
    "workers": workers,
    "ledger": ledger,
    "rss": open_streams,
}
"""What `--only` chooses from, in the order it is done."""


@contextlib.contextmanager
def contending(bench: Bench, gateways: Sequence[Gateway]) -> Iterator[list[Contender]]:
    """The gateways, started and looked at; one that does not start or answers wrongly is noted and left out."""
    with contextlib.ExitStack() as stack:
        contenders = []
        for gateway in gateways:
            bench.say(f"starting {gateway.name} {gateway.version}")
            try:
                server = stack.enter_context(gateway.running(bench.provider.url, bench.folder))
                bench.add("rss_idle", gateway.name, _settled_rss_mb(server))
                conduct = loads.look_at(server)
            except (BenchmarkError, OSError) as error:
                bench.note(gateway.name, f"left out: {error}")
                continue
            if not conduct.checks_key:
                bench.note(gateway.name, "takes any key: the figures are without a key checked")
            if not conduct.keeps_record:
                bench.note(gateway.name, "keeps no record of requests: the figures are without one")
            contenders.append(Contender(gateway, server))
        yield contenders


def cpu_us(bench: Bench, load: Load, contender: Contender) -> tuple[float, Outcome]:
    """CPU µs a request under that load, and what wrk saw. Raises BenchmarkError if requests fail.

    Only a window within the load is looked at, and requests are counted at the provider: those in flight at its
    beginning and at its end make up for each other.
    """
    connections = STREAM_CONNECTIONS if load.stream else JSON_CONNECTIONS
    window_s = bench.effort.window_s * (4 if contender.slow else 1)
    duration_s = bench.effort.warm_up_s + window_s + END_S
    with loads.wrk(contender.server, load, connections=connections, duration_s=duration_s) as process:
        time.sleep(bench.effort.warm_up_s)
        window = _window(bench, contender.server, window_s)
        seen = loads.outcome(process).checked()
    if window.requests == 0:
        raise BenchmarkError(f"no request came within {window_s} s")
    return 1e6 * window.cpu_s / window.requests, seen


def event_us(bench: Bench, count: int, contender: Contender) -> float:
    """CPU µs an event with `count` paced streams, counted where they come from. Raises BenchmarkError."""
    server = contender.server
    connections = contender.gateway.paced_connections or count
    window_s = STREAM_LASTS_S * bench.effort.paced_windows
    with loads.wrk(server, loads.PACED, connections=connections, duration_s=window_s + 60):
        _wait_for_streams(bench, connections)
        time.sleep(bench.effort.warm_up_s)
        window = _window(bench, server, window_s)
    expected = connections * window_s / 0.02
    if window.events < expected / 2:
        raise BenchmarkError(f"only {window.events} of about {expected:.0f} events came")
    return 1e6 * window.cpu_s / window.events


@dataclass(frozen=True, slots=True)
class Window:
    """What was used and done within a stretch of time."""

    cpu_s: float
    requests: int
    events: int


def _window(bench: Bench, server: Running, seconds: float) -> Window:
    before_s, before = server.cpu_s(), loads.provider_counts(bench.provider)
    time.sleep(seconds)
    after_s, after = server.cpu_s(), loads.provider_counts(bench.provider)
    return Window(after_s - before_s, after["requests"] - before["requests"], after["events"] - before["events"])


def _cpu_us(bench: Bench, load: Load, contender: Contender) -> float:
    return cpu_us(bench, load, contender)[0]


def _at_rate(bench: Bench, server: Running, rate: float) -> Outcome:
    # Too few samples make a 99th percentile that says nothing: a slow gateway is watched for longer.
    duration_s = max(2.0, bench.effort.window_s, min(20.0, 300 / rate))
    seen = loads.steady(
        server, bench.folder, loads.JSON, rate=rate, duration_s=duration_s, connections=JSON_CONNECTIONS
    )
    return seen.checked()


def _peak_rss_mb(bench: Bench, contender: Contender) -> float:
    with loads.wrk(contender.server, loads.SLOW, connections=OPEN_STREAMS, duration_s=90):
        _wait_for_streams(bench, OPEN_STREAMS)
        peak = 0.0
        for _ in range(20):
            time.sleep(0.2)
            peak = max(peak, contender.server.rss_mb())
    return peak


def _wait_for_streams(bench: Bench, count: int) -> None:
    deadline = time.monotonic() + 60
    open_count = 0
    while time.monotonic() < deadline:
        open_count = loads.provider_counts(bench.provider)["open_streams"]
        if open_count >= count * 0.99:
            return
        time.sleep(0.1)
    raise BenchmarkError(f"only {open_count} of {count} streams were open after a minute")


def _settled_rss_mb(server: Running) -> float:
    time.sleep(1)
    return server.rss_mb()


def _steps(contenders: Sequence[Contender], sample: Callable[[Contender], float]) -> list[Step]:
    return [(one.name, partial(sample, one)) for one in contenders]


def _rounds(rounds: int, contenders: Sequence[Contender]) -> int:
    return 1 if all(one.slow for one in contenders) else rounds
