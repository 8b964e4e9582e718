"""A report as JUnit XML, which CI systems show as tests."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from waypost.smoke.verdict import Report, Verdict

SUITE = "waypost smoke"


def junit_xml(report: Report) -> bytes:
    """One suite, a case a check. What XML cannot hold is replaced."""
    counts = {"tests": len(report.verdicts), "failures": report.count("failed"), "skipped": report.count("skipped")}
    suite = ET.Element("testsuite", name=SUITE, errors="0", time=f"{report.duration_s:.3f}")
    suite.attrib.update({name: str(count) for name, count in counts.items()})
    properties = ET.SubElement(suite, "properties")
    for name, value in (("url", report.url), ("version", report.version or "")):
        ET.SubElement(properties, "property", name=name, value=_plain(value))
    suite.extend(_case(verdict) for verdict in report.verdicts)
    written: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return written


def _case(verdict: Verdict) -> ET.Element:
    case = ET.Element("testcase", classname="waypost.smoke", name=verdict.name, time=f"{verdict.duration_s:.3f}")
    detail = _plain(verdict.detail)
    if verdict.status == "failed":
        ET.SubElement(case, "failure", message=detail)
    elif verdict.status == "skipped":
        ET.SubElement(case, "skipped", message=detail)
    else:
        ET.SubElement(case, "system-out").text = detail
    return case


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
