"""A thousand documents, two workers on one PostgreSQL, a provider with strict limits and five per cent of faults.

What is claimed: all is done, the provider never had to refuse a request as one too many, and what the batch says it
cost is what the ledger says, to the micro-dollar. What is measured: how much of the limit was used, and items a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tests.databases import postgres_server
from tests.jobs import limited_batch

from benchmarks import report
from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.store.migrate import upgrade

RESULTS: Final = Path(__file__).resolve().parent / "results"
COUNT: Final = 1_000
A_MINUTE: Final = 600
MARGIN_S: Final = 120.0


def main() -> int:
    """Run, tell, judge. 0 if all that is claimed holds, else 1."""
    options = _options()
    limits = {"requests_per_minute": options.per_minute}
    if options.tokens_per_minute:
        limits["tokens_per_minute"] = options.tokens_per_minute
    done = asyncio.run(_run(options.count, limits))
    claims = _claims(done, options.count, limits)
    told = {"documents": options.count, "limits": limits, **_figures(done), "claims": claims}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "batches.json").write_text(
        json.dumps({"time": report.now(), "machine": report.describe_machine(), **told}, indent=1) + "\n",
        encoding="utf-8",
    )
    json.dump(told, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0 if all(claims.values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=COUNT, help="documents")
    parser.add_argument("--per-minute", type=int, default=A_MINUTE, help="requests that the provider allows")
    parser.add_argument("--tokens-per-minute", type=int, help="tokens that it allows")
    return parser.parse_args()


async def _run(count: int, limits: dict[str, int]) -> limited_batch.Done:
    within_s = 3 * 60 * count / limits["requests_per_minute"] + MARGIN_S
    script = limited_batch.script(limits["requests_per_minute"], limits.get("tokens_per_minute"))
    with postgres_server() as server, tempfile.TemporaryDirectory() as folder:
        database = Database(server.create())
        upgrade(database)
        async with Simulator(script) as simulator:
            work = (Path(folder), simulator, database, count, limits, within_s)
            done = await asyncio.to_thread(limited_batch.run, *work)
        database.close()
    return done


def _claims(done: limited_batch.Done, count: int, limits: dict[str, int]) -> dict[str, bool]:
    tokens = limits.get("tokens_per_minute")
    return {
        "all is done": done.counts.succeeded == count,
        "the provider refused nothing as too much": done.pace.refused == 0,
        "requests within every minute": done.pace.most_requests <= limits["requests_per_minute"],
        "tokens within every minute": tokens is None or done.pace.most_tokens <= tokens,
        "cost equal to the ledger": done.counts.cost_micro_usd == done.ledger_micro_usd,
        "nothing possibly paid twice": done.possibly_paid_twice == 0,
    }


def _figures(done: limited_batch.Done) -> dict[str, Any]:
    return {
        "seconds": round(done.seconds, 1),
        "items_per_s": round(done.counts.ended / done.seconds, 2),
        "provider": asdict(done.pace),
        "faults": done.faults,
        "calls": done.calls,
        "cost_micro_usd": done.counts.cost_micro_usd,
        "ledger_micro_usd": done.ledger_micro_usd,
        "shares": sorted(done.by_worker.values()),
    }


if __name__ == "__main__":
    sys.exit(main())
