"""The tree of errors: what its docstring draws is what the classes are, and each says all it must."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter

import pytest

from waypost import errors
from waypost.errors import (
    AllTargetsFailed,
    Attempt,
    MalformedResponse,
    ProviderError,
    ProviderOverloaded,
    RequestError,
    WaypostError,
)

CLASSES: dict[str, type[WaypostError]] = {
    name: value for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, WaypostError)
}
ROW = re.compile(r"^    (?P<branch>(?:│   |    )*(?:├── |└── )?)(?P<name>[A-Z]\w+)(?:\s+(?P<status>[1-5]\d\d)\b)?")
BRANCH = 4
"""Characters of one level of the drawing."""


def drawn() -> dict[str, tuple[str | None, int | None]]:
    """The drawing as {class: (its parent, the HTTP status if one is written)}."""
    tree: dict[str, tuple[str | None, int | None]] = {}
    path: list[str] = []
    for line in (inspect.getdoc(errors) or "").splitlines():
        if row := ROW.match(line):
            depth = len(row["branch"]) // BRANCH
            path = [*path[:depth], row["name"]]
            tree[row["name"]] = (path[depth - 1] if depth else None, int(row["status"]) if row["status"] else None)
    return tree


def test_the_drawing_is_the_tree() -> None:
    """Every class is drawn once, under its parent, and nothing else is."""
    parents = {name: parent for name, (parent, _) in drawn().items()}
    assert parents == {
        name: None if kind is WaypostError else kind.__bases__[0].__name__ for name, kind in CLASSES.items()
    }


def test_the_statuses_of_the_drawing_are_those_of_the_classes() -> None:
    told = {name: status for name, (_, status) in drawn().items() if status is not None}
    # 503 and 529 beside ProviderOverloaded are what the provider sends.
    assert told == {name: CLASSES[name].http_status for name in told}
    assert {name for name, kind in CLASSES.items() if issubclass(kind, RequestError)} <= {"RequestError", *told}


def test_each_class_has_a_code_of_its_own() -> None:
    """A caller tells errors apart by code: only InvalidRequest, the plain form of RequestError, shares its one."""
    codes = Counter(kind.code for kind in CLASSES.values() if kind is not RequestError)
    assert [code for code, times in codes.items() if times > 1] == []
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES.keys())
def test_each_class_says_how_it_is_answered(kind: type[WaypostError]) -> None:
    """An HTTP status of an error, a sentence of documentation, and no retry where a fallback is ruled out."""
    assert 400 <= kind.http_status <= 599
    assert kind.__doc__
    assert not kind.retryable or kind.fallback


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES.keys())
def test_what_is_the_caller_s_fault_is_never_tried_again(kind: type[WaypostError]) -> None:
    if issubclass(kind, RequestError):
        assert (kind.retryable, kind.fallback) == (False, False)
        assert kind.http_status < 500


def test_a_code_is_declared_in_the_class_that_has_it() -> None:
    """No class but InvalidRequest inherits its code: one that forgot to say its own would pass for its parent."""
    source = ast.parse(inspect.getsource(errors))
    declaring = {
        node.name
        for node in source.body
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if "code" in ast.unparse(statement).split("=")[0].split(":")[0].split()
    }
    assert set(CLASSES) - declaring == {"InvalidRequest"}


def test_the_text_is_what_happened_and_what_to_do() -> None:
    assert str(WaypostError("It broke.", hint="Mend it.")) == "It broke. Mend it."
    assert str(WaypostError("It broke", hint="Mend it.")) == "It broke. Mend it."
    assert str(WaypostError("It broke.")) == "It broke."
    assert str(ProviderOverloaded("Busy")) == f"Busy. {ProviderOverloaded.advice}"
    assert ProviderOverloaded("Busy", hint="Go home.").hint == "Go home."


def test_a_provider_s_error_carries_what_the_provider_said() -> None:
    error = ProviderError("No.", provider="openai", status=429, provider_code="limit", request_id="r", retry_after_s=2)
    told = (error.provider, error.status, error.provider_code, error.param, error.request_id, error.retry_after_s)
    assert told == ("openai", 429, "limit", None, "r", 2)


def test_when_all_fail_each_provider_s_own_error_is_told() -> None:
    first, second = MalformedResponse("Not JSON."), ProviderError("Down.")
    failed = AllTargetsFailed([Attempt("a", "m", first, 1), Attempt("b", None, second, 2)])
    assert failed.message == "All AI providers failed: a: Not JSON; b: Down."
    assert failed.errors == {"a": first, "b": second}
    assert AllTargetsFailed([]).message == "All AI providers failed: none is configured."
