"""What a request's record keeps, and lets go of."""

import gc
import weakref

from waypost.errors import AllTargetsFailed, Attempt, ProviderServerError
from waypost.gateway.call_record import CallRecord, RequestEnd


class Held:
    """Stands for what a frame holds: the bytes of a reply."""


def raise_(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def failed_within_a_frame(record: CallRecord) -> "weakref.ref[Held]":
    """Notes an error whose trace leads to a frame that holds the error, its cause and a `Held`."""
    held = Held()
    error = ProviderServerError("It broke.")
    try:
        raise_(error, ConnectionResetError())
    except ProviderServerError:
        record.error = AllTargetsFailed([Attempt("first", "m", error, 1)])
    try:
        raise_(record.error or error)
    except AllTargetsFailed as caught:
        record.note_attempts(caught.attempts)
    return weakref.ref(held)


def test_what_the_frames_of_a_failed_call_held_is_let_go_of_without_the_collector() -> None:
    record = CallRecord()
    gc.disable()
    try:
        held = failed_within_a_frame(record)
        assert held() is not None
        record.settled(RequestEnd("req_1", "failed", 502, 2))
        assert held() is None
    finally:
        gc.enable()


def test_an_error_that_is_not_ours_keeps_its_trace_for_whoever_logs_it() -> None:
    record = CallRecord()
    try:
        raise_(KeyError("a mistake"))
    except KeyError as mistake:
        record.error = mistake
    record.settled(RequestEnd("req_1", "failed", 500, 2))
    assert record.error is not None
    assert record.error.__traceback__ is not None
