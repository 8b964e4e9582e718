"""Are the built-in analyses good enough? python -m tools.answer_quality [--model M] [--report FILE]

Texts of tests/fixtures/analysis are analyzed, and each answer is compared with what a person expects of it. The offline
analyzer always answers; the default route of the settings does where a vendor's key is in the environment; else the
built-in local model, if it is here. Who was not asked is said. Exit code 1 if a share is under its threshold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

Analyze: TypeAlias = Callable[[str], Awaitable[Mapping[str, Any] | None]]

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ROOT / "tests" / "fixtures" / "analysis"
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY")
OFFLINE, LOCAL, ROUTE = "offline", "local", "default"
MODEL = "smollm2-135m-instruct"
THRESHOLDS: Mapping[str, float] = {
    "answered": 1.0,
    "language": 1.0,
    "sentiment": 0.75,
    "themes": 0.5,
    "grounded": 1.0,
    "suggested": 0.75,
}
"""Least share of the answers that are right, by what is judged.

answered: is there a result at all? language, sentiment: the one a person expects. themes: how many of those a person
names are met. grounded: every quote stands in the text. suggested: is the worst sentence among the quotes?
"""


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer: who gave it, of which text, and the share that is right of each thing that is judged."""

    model: str
    text: str
    shares: Mapping[str, float]


def judge(value: Mapping[str, Any] | None, text: str, expected: Mapping[str, Any]) -> dict[str, float]:
    """The shares of an answer, between 0 and 1, by the names of THRESHOLDS."""
    if value is None:
        return dict.fromkeys(THRESHOLDS, 0.0)
    said = " | ".join([*(value.get("themes") or ()), *(value.get("topics") or ())]).casefold()
    met = [any(word.casefold() in said for word in words) for words in expected["themes"]]
    quotes = [each["quote"] for each in value.get("suggestions") or () if each["quote"]]
    return {
        "answered": 1.0,
        "language": float(value.get("language") == expected["language"]),
        "sentiment": float((value.get("sentiment") or {}).get("label") in expected["sentiment"]),
        "themes": sum(met) / len(met),
        "grounded": float(all(quote in text for quote in quotes)),
        "suggested": float(any(quote.startswith(expected["quote"]) for quote in quotes)),
    }


async def judged(model: str) -> list[Judged]:
    """The model's answers to all texts. One that fails is an answer that has nothing right."""
    expectations: dict[str, Any] = json.loads((TEXTS / "expected.json").read_text(encoding="utf-8"))
    found = []
    async with _analyzer(model) as analyze:
        for name, expected in expectations.items():
            text = (TEXTS / name).read_text(encoding="utf-8")
            found.append(Judged(model, name, judge(await analyze(text), text, expected)))
    return found


@asynccontextmanager
async def _analyzer(model: str) -> AsyncIterator[Analyze]:
    if model == OFFLINE:
        yield _offline
        return
    from waypost.app import build
    from waypost.settings import read_settings

    # What is asked here is nobody's spend: no database is opened for it.
    settings = read_settings(options={"answer quality": (("ledger",), {"enabled": False})}).settings
    application = build(settings)
    try:
        yield _Asking(application.gateway, settings, model)
    finally:
        await application.close()


async def _offline(text: str) -> Mapping[str, Any] | None:
    from waypost.analysis.offline import analyze_offline

    return analyze_offline(text)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Asks a model by the gateway, as a worker does."""

    gateway: Any
    settings: Any
    model: str

    async def __call__(self, text: str) -> Mapping[str, Any] | None:
        from tests.analysis.asking import GatewayAsker

        from waypost.analysis.kinds import kinds_of
        from waypost.analysis.limits import limits_of
        from waypost.analysis.plan import parts_of
        from waypost.analysis.run import combine, run_part

        kind, asker = kinds_of(self.settings)["analysis"], GatewayAsker(self.gateway)
        limits = limits_of(self.gateway, self.settings, self.model)
        results: list[Any] = []
        for part in parts_of(text, [kind], limits):
            results.append(await run_part(part, kind, asker, [result.to_dict() for result in results]))
        # The small model's fields are joined with the offline analyzer's; another has to answer by itself.
        told = combine([kind], results, text, allow_offline=limits.is_weak)["results"]["analysis"]
        if told["error"]:
            sys.stderr.write(f"{self.model}: {told['error']['message']}\n")
        value: Mapping[str, Any] | None = told["value"]
        return value


def models() -> Iterator[tuple[str, str]]:
    """Who can be asked here, and why; what cannot be is said with an empty name."""
    yield OFFLINE, "needs no model"
    if keys := [key for key in KEYS if os.environ.get(key)]:
        yield ROUTE, f"{' and '.join(keys)} is set"
        return
    without = f"no vendor is asked: none of {', '.join(KEYS)} is set"
    from waypost.cli.local_models import check_model
    from waypost.errors import ModelError
    from waypost.settings import load_settings

    try:
        yield LOCAL, f"{without}; {check_model(MODEL, load_settings())}"
    except ModelError as error:
        yield "", f"{without}. {error}"


def shares(answers: Sequence[Judged]) -> dict[str, float]:
    """The mean of each share over the answers."""
    return {name: sum(each.shares[name] for each in answers) / len(answers) for name in THRESHOLDS}


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """As Markdown, a row for each thing that is judged; what is under its threshold is marked."""
    rows = [["judged", "at least", *found], ["---"] * (2 + len(found))]
    for name, least in THRESHOLDS.items():
        cells = [f"{each[name]:.2f}{'' if each[name] >= least else ' FAIL'}" for each in found.values()]
        rows.append([name, f"{least:.2f}", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    """Judge whoever is here; 1 if one is not good enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="ask only this one: offline, or a name as in a request")
    parser.add_argument("--report", type=Path, help="also write every answer's shares as JSON")
    arguments = parser.parse_args()
    asked = [(arguments.model, "as was asked for")] if arguments.model else list(models())
    answers = {name: asyncio.run(judged(name)) for name, _ in asked if name}
    found = {name: shares(each) for name, each in answers.items()}
    told = [f"{name or 'nobody else'}: {reason}" for name, reason in asked]
    sys.stdout.write("\n".join([table(found), "", *told, ""]))
    if arguments.report:
        arguments.report.parent.mkdir(parents=True, exist_ok=True)
        whole = {"who": told, "thresholds": dict(THRESHOLDS), "shares": found}
        each = [asdict(answer) for every in answers.values() for answer in every]
        arguments.report.write_text(json.dumps({**whole, "answers": each}, indent=2) + "\n")
    return int(any(share[name] < least for share in found.values() for name, least in THRESHOLDS.items()))


if __name__ == "__main__":
    sys.exit(main())
