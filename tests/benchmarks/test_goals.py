from __future__ import annotations

import pytest
from benchmarks.goals import GOALS, WORKS, Goal, Measured, Verdict, judge, shares, words


def test_a_figure_is_the_median_and_not_thrown_by_one_bad_round() -> None:
    assert Measured({"waypost": [100, 102, 900]}).figure("waypost") == 102
    assert Measured({"waypost": []}).figure("waypost") is None


def test_pairs_give_the_median_of_their_ratios() -> None:
    """The machine was half as fast in the second round: the ratio of the medians would say 2, no round did."""
    measured = Measured({"waypost": [100, 200, 90], "ferrogw": [100, 200, 90]})
    assert measured.ratio("waypost", "ferrogw") == 1
    slowing = Measured({"waypost": [10, 40, 12], "ferrogw": [20, 20, 24]})
    assert slowing.ratio("waypost", "ferrogw") == 0.5


def test_unequal_rounds_give_the_ratio_of_the_medians() -> None:
    assert Measured({"waypost": [100, 120, 110], "litellm": [11_000]}).ratio("waypost", "litellm") == 0.01


@pytest.mark.parametrize("samples", [{}, {"waypost": [1]}, {"ferrogw": [1]}, {"waypost": [1], "ferrogw": [0]}])
def test_what_cannot_be_compared_has_neither_passed_nor_failed(samples: dict[str, list[float]]) -> None:
    judged = judge(Goal("json", 1.0, "ferrogw"), Measured(samples))
    assert (judged.verdict, judged.ratio, judged.share) == ("not measured", None, None)


@pytest.mark.parametrize(
    ("goal", "ours", "theirs", "verdict"),
    [
        (Goal("json", 1.0, "peer"), 100, 100, "pass"),
        (Goal("json", 1.0, "peer"), 101, 100, "fail"),
        (Goal("json", 1 / 60, "peer"), 180, 11_000, "pass"),
        (Goal("json", 1 / 60, "peer"), 190, 11_000, "fail"),
        (Goal("rss_idle", 80), 80, 30, "pass"),
        (Goal("rss_idle", 80), 80.1, 900, "fail"),
    ],
)
def test_the_limit_itself_is_still_reached(goal: Goal, ours: float, theirs: float, verdict: Verdict) -> None:
    assert judge(goal, Measured({"waypost": [ours], "peer": [theirs]})).verdict == verdict


def test_shares_put_everybody_on_the_scale_of_our_limit() -> None:
    """At 0.25 times the peer's 400, the limit is 100: the peer itself uses it four times over."""
    measured = Measured({"waypost": [50], "ferrogw": [400], "litellm": [20_000]})
    assert shares(Goal("stream", 0.25, "ferrogw"), measured) == {"waypost": 0.5, "ferrogw": 4, "litellm": 200}
    assert shares(Goal("stream", 0.25, "absent"), measured) == {}


def test_every_goal_is_about_work_that_is_measured() -> None:
    assert {goal.work for goal in GOALS} <= {work.id for work in WORKS}
    assert len({work.id for work in WORKS}) == len(WORKS)


def test_a_goal_reads_as_it_is_meant() -> None:
    assert words(Goal("rss_idle", 80), "MB") == "≤ 80 MB"
    assert words(Goal("stream", 0.25, "ferrogw"), "CPU µs a stream") == "≤ 0.25 x ferrogw"
