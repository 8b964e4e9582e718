"""cli/batch_progress.py: how it stands, in one line."""

from __future__ import annotations

from io import StringIO

from waypost.cli.batch_progress import BatchProgress, duration_text, line
from waypost.jobs.batch import Counts

HALF = Counts(queued=40, running=10, succeeded=48, failed=2, cost_micro_usd=1_234_567)


def test_the_line_says_done_failed_rate_cost_and_time_left() -> None:
    assert line(HALF, 100, 100, 2.5) == "[##########----------] 50 of 100 · 2 failed · 2.5/s · $1.2346 · 0:20 left"
    assert line(HALF, None, 130, None) == "[#######-------------] 50 of 130+ · 2 failed · $1.2346"
    odd = Counts(succeeded=1, unpriced=1, cost_is_estimate=True)
    assert line(odd, 1, 1, 1234.0).endswith("1,234/s · about $0.0000 and 1 without a price · 0:00 left")
    assert line(Counts(), 0, 0, 0.0).startswith("[--------------------] 0 of 0")


def test_times_are_told_as_clocks_do() -> None:
    assert [duration_text(seconds) for seconds in (0, 59.6, 61, 3_723)] == ["0:00", "1:00", "1:01", "1:02:03"]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_changes_and_a_file_a_line_now_and_then() -> None:
    now_s = [0.0]
    for stream, shown in ((Terminal(), 10), (StringIO(), 2)):
        progress = BatchProgress(stream, lambda: now_s[0])
        for tenth in range(20):
            now_s[0] += 1.0 if shown == 2 else 0.125
            progress.show(Counts(succeeded=tenth), 20, 20)
        progress.note("a note")
        text = stream.getvalue()
        assert text.count("failed") == shown
        assert text.count("\r") == (10 if shown == 10 else 0)
        assert text.endswith("\na note\n")


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    now_s, stream = [0.0], StringIO()
    progress = BatchProgress(stream, lambda: now_s[0])
    for second in range(100):
        now_s[0] = float(second)
        progress.show(Counts(succeeded=second if second < 50 else 50 + 10 * (second - 50)), 1_000, 1_000)
    assert "10.0/s" in stream.getvalue().splitlines()[-1]
