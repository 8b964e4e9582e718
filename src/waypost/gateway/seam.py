"""Joins the stream that goes on to the one that broke, so that the caller sees one stream. No I/O, no calls.

Feed the new stream's events to a seam and forward what it gives: the first stream's id, model, created, part index
and item id stay; the text begins where the sent text ended; the finish is the new stream's. The invariant: what was
sent and what is forwarded are together one whole answer, or RecoveryDiverged is raised: never a guess.

Two things of the new stream are not forwarded, and can be asked for to be told: its thinking (the text had begun), and
the signatures of its text part, since they vouch for a part that the caller does not have in that form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from waypost.chat import (
    Event,
    Failed,
    Finish,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    ResponseStart,
    Text,
    Usage,
    UsageUpdate,
)
from waypost.errors import RecoveryDiverged
from waypost.gateway.sent import Sent, Way
from waypost.gateway.total_usage import TotalUsage

TELLING_CHARACTERS = 6
"""How many different characters a text must have, so that saying it again is no chance. `==` after `==` is chance."""

BEGAN_AGAIN_CHARACTERS = 32
"""Who says so much of the sent text once more, and then something else, began again instead of going on."""


class Seam:
    """What the seams share: all but what becomes of the text. `spent` is the usage of the attempts before this one."""

    def __init__(self, sent: Sent, spent: TotalUsage | None = None) -> None:
        self._sent = sent
        self._spent = TotalUsage().plus(sent.usage, broken=True) if spent is None else spent
        self._usage = Usage()
        self._part = sent.part
        self._text_index: int | None = None
        self.notes: tuple[str, ...] = ()
        """What the new stream's start said that the caller should know."""
        self.dropped_reasoning = False
        """Did the new stream think? The caller has not seen it."""

    @property
    def total(self) -> TotalUsage:
        """The usage of all attempts so far, this one's too."""
        return self._spent.plus(self._usage)

    def feed(self, event: Event) -> tuple[Event, ...]:
        """What to forward for one event of the new stream. Raises RecoveryDiverged."""
        match event:
            case PartDelta():
                return self._forward(self._take(event.text)) if event.index == self._text_index else ()
            case PartStart():
                return self._begin(event)
            case PartEnd():
                # The part is ended at the finish: only then is it known what was held back for good.
                return ()
            case UsageUpdate():
                self._usage = self._usage.merge(event.usage)
                return (UsageUpdate(self.total.usage),)
            case Finish():
                return self._finish(event)
            case ResponseStart():
                self.notes += event.notes
                return ()
            case Failed():
                return (event,)
            case _:
                raise self._more_than_text(type(event).__name__)

    def _take(self, text: str) -> str:
        """What of the new text may be forwarded now."""
        raise NotImplementedError

    def _last(self, finish: Finish) -> str:
        """What was held back and is to be forwarded before the finish."""
        raise NotImplementedError

    def _begin(self, event: PartStart) -> tuple[Event, ...]:
        if isinstance(event.part, Reasoning):
            self.dropped_reasoning = True
            return ()
        if not isinstance(event.part, Text) or event.part.citations or event.choice or self._text_index is not None:
            raise self._more_than_text(type(event.part).__name__)
        self._text_index = event.index
        return self._forward(self._take(event.part.text))

    def _finish(self, finish: Finish) -> tuple[Event, ...]:
        events = self._forward(self._last(finish))
        end = (PartEnd(self._sent.index),) if self._part == "open" else ()
        self._part = "ended"
        return (*events, *end, finish)

    def _forward(self, text: str) -> tuple[Event, ...]:
        if not text:
            return ()
        delta = PartDelta(self._sent.index, text)
        if self._part == "ended":
            raise RecoveryDiverged("The text that was sent was whole, but the second answer has more of it.")
        if self._part == "absent":
            self._part = "open"
            return (PartStart(self._sent.index, Text("")), delta)
        return (delta,)

    def _more_than_text(self, name: str) -> RecoveryDiverged:
        return RecoveryDiverged(f"The stream that was to go on with plain text holds something else ({name}).")


class RestartSeam(Seam):
    """For a target that began again: holds all back until what was sent has come once more, to the letter."""

    _matched = 0

    def _take(self, text: str) -> str:
        sent, at = self._sent.text, self._matched
        again = min(len(text), len(sent) - at)
        if not sent.startswith(text[:again], at):
            raise RecoveryDiverged(
                f"The second answer differs from the first within its characters {at + 1} to {at + again}; "
                f"{len(sent)} had been sent."
            )
        self._matched += again
        return text[again:]

    def _last(self, finish: Finish) -> str:
        if self._matched < len(self._sent.text):
            raise RecoveryDiverged(
                f"The second answer ended ({finish.reason}) after {self._matched} of the "
                f"{len(self._sent.text)} characters that had been sent."
            )
        return ""


class PrefillSeam(Seam):
    """For a target that goes on from the text: cuts a repetition of it, and the white space that was sent already.

    The target was shown the text without the white space at its end. If it begins with the same white space, that
    is cut; if with none, nothing is missing, since the caller has it.
    """

    def __init__(self, sent: Sent, spent: TotalUsage | None = None) -> None:
        super().__init__(sent, spent)
        self._shown = sent.text.rstrip()
        self._space = sent.text[len(self._shown) :]
        self._repeated: int | None = 0
        """Characters of the shown text that came again; None: that is settled."""
        self._spaced: int | None = 0
        """Characters of the white space that came again; None: that is settled."""

    def _take(self, text: str) -> str:
        if self._repeated is not None and text:
            text = self._after_repetition(text, self._repeated)
        if self._spaced is not None and text:
            text = self._after_space(text, self._spaced)
        return text

    def _last(self, finish: Finish) -> str:
        repeated = self._repeated
        if not repeated:
            return ""
        if finish.reason != "stop" or _is_telling(self._shown[:repeated]):
            raise RecoveryDiverged(
                f"The answer's continuation ended ({finish.reason}) while it repeated what had been sent."
            )
        self._repeated = None
        return self._take(self._shown[:repeated])

    def _after_repetition(self, text: str, at: int) -> str:
        again = min(len(text), len(self._shown) - at)
        if not self._shown.startswith(text[:again], at):
            return self._is_no_repetition(text, at)
        if at + again < len(self._shown):
            self._repeated = at + again
            return ""
        self._repeated = None
        if self._shown and not _is_telling(self._shown):
            raise RecoveryDiverged(
                "The continuation begins with all that had been sent, which is too little to tell whether it is "
                "meant to be there twice."
            )
        return text[again:]

    def _is_no_repetition(self, text: str, at: int) -> str:
        self._repeated = None
        held = self._shown[:at] + text
        if _common(held, self._shown) >= BEGAN_AGAIN_CHARACTERS:
            raise RecoveryDiverged("The target began again, in other words, instead of going on from the text.")
        return held

    def _after_space(self, text: str, at: int) -> str:
        again = _common(text, self._space[at:])
        # Settled by the first character that is another, or when all of it has come.
        settled = again < len(text) or at + again == len(self._space)
        self._spaced = None if settled else at + again
        return text[again:]


class SeamKind(Protocol):
    """Makes a seam."""

    def __call__(self, sent: Sent, spent: TotalUsage | None = None) -> Seam:
        """For what was sent, after what was spent."""


SEAMS: Mapping[Way, SeamKind] = {"prefill": PrefillSeam, "user_turn": PrefillSeam, "restart": RestartSeam}


def _is_telling(text: str) -> bool:
    return len(set(text)) >= TELLING_CHARACTERS


def _common(first: str, second: str) -> int:
    """How many characters they share at the beginning."""
    most = min(len(first), len(second))
    return next((at for at in range(most) if first[at] != second[at]), most)
