"""Each check passes on a server that does what is documented, and finds the one thing that another does wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from aiohttp import web
from tests.smoke.lying_server import (
    ADMIN_KEY,
    DONE,
    KEY,
    START,
    TEXT,
    Answer,
    as_json,
    chunk,
    chunks,
    events,
    lying,
    refused,
)

from waypost.cli.smoke import CHECKS as NAMES
from waypost.smoke.asked import Wishes
from waypost.smoke.client import connected
from waypost.smoke.junit import junit_xml
from waypost.smoke.run import CHECKS, run_checks
from waypost.smoke.verdict import Report, Verdict

WISHES = Wishes(KEY, ADMIN_KEY)


async def report_on(lies: Mapping[str, Answer], wishes: Wishes = WISHES, **options: Any) -> Report:
    async with lying(lies) as (url, _), connected(url, timeout_s=5) as server:
        return await run_checks(server, wishes, **options)


def verdict(report: Report, name: str) -> Verdict:
    return next(each for each in report.verdicts if each.name == name)


def test_the_command_knows_every_check_in_its_order() -> None:
    assert tuple(CHECKS) == NAMES


async def test_an_honest_server_passes_every_check_and_keeps_no_key_of_the_test() -> None:
    async with lying({}) as (url, served), connected(url, timeout_s=5) as server:
        report = await run_checks(server, WISHES, required=NAMES)
    assert {each.name: each.status for each in report.verdicts} == dict.fromkeys(NAMES, "passed"), report
    assert report.ok
    assert report.version == "1.2.3"
    assert served.revoked == ["/api/admin/keys/key_1"]


def gone(request: web.Request, _body: Mapping[str, Any]) -> web.Response:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def says(answer: web.Response) -> Answer:
    """The same answer each time; one response object serves one request."""
    status, body, headers = answer.status, answer.body, answer.headers

    def answered(_request: web.Request, _body: Mapping[str, Any]) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    return answered


UNWELL = as_json({"status": "unavailable", "error": {"code": "server_busy", "message": "No provider can answer."}}, 503)
JOB_FAILED = as_json({"id": "job_1", "state": "failed", "error": {"code": "x", "message": "It broke."}})
JOB_EMPTY = as_json({"id": "job_1", "state": "succeeded", "result": {"results": {}}})
OTHER_VERSION = web.Response(text='waypost_build_info{version="1.2.2"} 1\n')
GENERATE, STREAM, CHAT = "POST /api/ai/generate", "POST /api/ai/generate stream", "POST /v1/chat/completions stream"
LIES: list[tuple[str, str, Answer, str]] = [
    ("health", "GET /health", says(as_json({"status": "poorly", "version": "1.2.3"})), "poorly"),
    ("health", "GET /health", says(web.Response(text="<html>Welcome to nginx!</html>")), "no JSON object"),
    ("version", "GET /health", says(as_json({"status": "ok"})), "names no version"),
    ("ready", "GET /ready", says(UNWELL), "No provider can answer."),
    ("generation", GENERATE, gone, "closed before an answer"),
    ("generation", GENERATE, says(refused(502, "all_targets_failed")), "refused: all_targets_failed"),
    ("generation", GENERATE, says(as_json({"content": "", "finish_reason": "stop"})), "empty"),
    ("stream", STREAM, says(events(START, TEXT)), "ends with 'text'"),
    ("stream", STREAM, says(events(START, DONE)), "empty"),
    ("stream", STREAM, says(events(START, TEXT, DONE, TEXT)), "ends with 'text'"),
    ("stream", STREAM, says(events(START, ("error", {"error": {"message": "It broke."}}))), "It broke."),
    ("stream", STREAM, says(as_json({"content": "Hello."})), "application/json"),
    ("chat_stream", CHAT, says(chunks(chunk("Hello."), chunk("", "stop"))), "without [DONE]"),
    ("chat_stream", CHAT, says(chunks(chunk("Hello."), "[DONE]")), "0 finish reasons"),
    ("chat_stream", CHAT, says(chunks(chunk("", "stop"), "[DONE]")), "empty"),
    ("chat_stream", CHAT, says(chunks(chunk("Hel"), '{"error": {"message": "It broke."}}')), "It broke."),
    ("analysis", "GET /api/ai/jobs/job_1", says(JOB_FAILED), "It broke."),
    ("analysis", "GET /api/ai/jobs/job_1", says(JOB_EMPTY), "without a result"),
    ("body_limit", "huge", says(as_json({})), "status 200"),
    ("body_limit", "continue", says(as_json({})), "wants to read"),
    ("wrong_key", "GET /v1/models", lambda request, _: let_in_with_any_key(request), "status 200"),
    ("rate_limit", GENERATE, says(as_json({"content": "Hello.", "finish_reason": "stop"})), "was answered"),
    ("rate_limit", "POST /api/admin/keys", says(as_json({"id": "key_1"}, 201)), "has not the form"),
    ("metrics", "GET /metrics", says(web.Response(text="up 1\n")), "no waypost_build_info"),
    ("metrics", "GET /metrics", says(OTHER_VERSION), "1.2.2"),
]


def let_in_with_any_key(request: web.Request) -> web.Response:
    return as_json({"data": []}) if request.headers.get("authorization") else refused(401, "authentication_required")


@pytest.mark.parametrize(("check", "place", "lie", "words"), LIES, ids=[f"{row[0]}-{row[3]}" for row in LIES])
async def test_a_lie_is_found_by_its_check(check: str, place: str, lie: Answer, words: str) -> None:
    report = await report_on({place: lie})
    found = verdict(report, check)
    assert found.status == "failed"
    assert words in found.detail
    assert not report.ok


def test_every_check_can_fail() -> None:
    assert {row[0] for row in LIES} == set(NAMES)


SKIPPED: list[tuple[str, str, Answer, str]] = [
    ("analysis", "POST /api/ai/analyze", says(refused(422, "unsupported_feature")), "takes on no jobs"),
    ("wrong_key", "GET /v1/models", says(as_json({"data": []})), "asks for no key"),
    ("rate_limit", "GET /v1/models", says(as_json({"data": []})), "asks for no key"),
    ("metrics", "GET /metrics", says(refused(404, "unknown_path")), "no /metrics"),
    ("metrics", "GET /metrics", says(refused(403, "not_allowed")), "an admin key only"),
]


@pytest.mark.parametrize(("check", "place", "answer", "words"), SKIPPED, ids=[f"{row[0]}-{row[3]}" for row in SKIPPED])
async def test_what_a_server_does_not_have_is_skipped_unless_it_is_required(
    check: str, place: str, answer: Answer, words: str
) -> None:
    report = await report_on({place: answer})
    assert verdict(report, check).status == "skipped"
    assert words in verdict(report, check).detail
    assert report.ok
    required = await report_on({place: answer}, required=[check])
    assert verdict(required, check).status == "failed"


async def test_without_an_admin_key_the_keys_own_small_limit_is_used_up() -> None:
    asked = 0

    def limited(_request: web.Request, _body: Mapping[str, Any]) -> web.Response:
        nonlocal asked
        asked += 1
        if asked > 4:
            return refused(429, "rate_limit_exceeded", **{"retry-after": "30"})
        return as_json({"content": "Hello.", "finish_reason": "stop"})

    told = chunks(chunk("Hello."), chunk("", "stop"), "[DONE]")
    told.headers["x-ratelimit-limit-requests"] = "4"
    report = await report_on({GENERATE: limited, CHAT: says(told)}, Wishes(KEY))
    assert verdict(report, "rate_limit").status == "passed", verdict(report, "rate_limit")
    told.headers["x-ratelimit-limit-requests"] = "5000"
    report = await report_on({CHAT: says(told)}, Wishes(KEY))
    assert verdict(report, "rate_limit").status == "skipped"


async def test_a_server_of_another_version_is_told_from_the_expected_one() -> None:
    report = await report_on({}, Wishes(KEY, ADMIN_KEY, expect_version="1.2.4"))
    assert verdict(report, "version").detail == "The server is of version 1.2.3, not 1.2.4."


async def test_where_nobody_answers_the_other_checks_are_not_tried() -> None:
    async with lying({}) as (url, _):
        pass
    async with connected(url, timeout_s=5) as server:
        report = await run_checks(server, WISHES)
    assert verdict(report, "health").status == "failed"
    assert "Connection refused" in verdict(report, "health").detail
    assert report.count("skipped") == len(NAMES) - 1


async def test_the_xml_names_every_check_with_what_came_of_it() -> None:
    report = await report_on({"GET /metrics": says(refused(404, "x")), "GET /ready": says(UNWELL)})
    suite = ET.fromstring(junit_xml(report))  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("11", "1", "1")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert set(cases) == set(NAMES)
    failure = cases["ready"].find("failure")
    assert failure is not None
    assert "No provider can answer." in str(failure.get("message"))
    assert cases["metrics"].find("skipped") is not None


def test_the_xml_can_hold_whatever_a_server_says() -> None:
    report = Report("http://x", "1\x00", [Verdict("ready", "failed", 'a \x1b[31m "quoted" <b> \ud800', 0.1)])
    ET.fromstring(junit_xml(report))  # noqa: S314 - our own
