"""gateway/total_usage.py: what several attempts used together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from waypost.chat import Usage
from waypost.chat.usage import COUNTS
from waypost.gateway.total_usage import TotalUsage

COUNT = st.none() | st.integers(0, 1000)
USAGES = st.builds(
    Usage,
    **dict.fromkeys(COUNTS, COUNT),
    server_tool_calls=st.dictionaries(st.sampled_from(["search", "fetch"]), st.integers(1, 5)),
)


def test_one_attempt_is_its_own_total() -> None:
    usage = Usage(input_tokens=3, output_tokens=4, service_tier="flex")
    assert TotalUsage().plus(usage) == TotalUsage(usage, frozenset(), 1)


@given(st.lists(USAGES, min_size=1, max_size=4))
def test_every_count_is_the_sum_of_those_reported_and_is_marked_if_one_was_not(usages: list[Usage]) -> None:
    total = TotalUsage()
    for usage in usages:
        total = total.plus(usage)
    for name in COUNTS:
        reported = [value for usage in usages if (value := getattr(usage, name)) is not None]
        assert getattr(total.usage, name) == (sum(reported) if reported else None)
        assert (name in total.incomplete) == (0 < len(reported) < len(usages))
    for tool in ("search", "fetch"):
        assert total.usage.server_tool_calls.get(tool, 0) == sum(u.server_tool_calls.get(tool, 0) for u in usages)


def test_a_broken_attempt_s_count_of_output_is_only_a_lower_bound() -> None:
    """Anthropic tells one output token at the start and the true figure at the end, which a break takes away."""
    total = TotalUsage().plus(Usage(input_tokens=3, output_tokens=1), broken=True).plus(Usage(3, output_tokens=7))
    assert (total.usage.input_tokens, total.usage.output_tokens, total.attempts) == (6, 8, 2)
    assert total.incomplete == {"output_tokens"}


def test_the_tier_is_the_last_one_told() -> None:
    total = TotalUsage().plus(Usage(service_tier="flex")).plus(Usage())
    assert total.usage.service_tier == "flex"
    assert total.plus(Usage(service_tier="priority")).usage.service_tier == "priority"
