"""The secrets that messages are signed with: from the settings, or else made once and kept in the data folder.

The installation has one, and every project one that is derived of it, so that nobody can sign in another project's
name. After a change messages are signed with the old one too, for a while. The invariant: no secret is in any log or
error, and a file of secrets that is made here is its owner's only.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from waypost.errors import ConfigurationError
from waypost.settings import WebhookSettings
from waypost.settings.webhooks import webhook_key
from waypost.webhooks.signing import derived_secret, new_secret

SECRET_FILE: Final = "webhook-secret"  # noqa: S105 - a file's name
"""In the data folder."""
_LARGEST_BYTES: Final = 64 * 1024
_LINE: Final = re.compile(r"(\S+)(?: until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ))?")
logger = logging.getLogger("waypost.webhooks")


@dataclass(frozen=True, slots=True)
class Kept:
    """A secret, and until when it is good, in Unix seconds; None: until it is taken out."""

    secret: str
    until_s: float | None = None


class WebhookSecrets:
    """Those of these settings. Files are read each time: who changes one need not start anything anew."""

    def __init__(self, settings: WebhookSettings, data_dir: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._data_dir = data_dir
        self._clock = clock

    @property
    def is_configured(self) -> bool:
        """Do the settings say it? If not, each data folder has one of its own."""
        return self._settings.secret is not None or self._settings.secret_file is not None

    @property
    def kept_file(self) -> Path:
        """Where a secret is kept that the settings do not say."""
        return self._data_dir / SECRET_FILE

    def of(self, project_id: str | None) -> tuple[str, ...]:
        """What messages of this project are signed with, the newest first; None: those that are no project's.

        Blocks for as long as a small file takes. Raises ConfigurationError.
        """
        return tuple(derived_secret(each, project_id) for each in self._installation())

    def rotate(self, grace_s: float) -> None:
        """Replace the kept secret; the old one stays good for so many seconds. Raises ConfigurationError."""
        if self.is_configured:
            raise ConfigurationError(
                "The secret of webhooks is configured, and is changed where it stands.",
                hint="Set webhooks.secret to a new one and webhooks.previous_secret to the old one.",
            )
        old = self._kept()
        until = datetime.fromtimestamp(self._clock() + grace_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines = [new_secret(), *([f"{old[0].secret} until {until}"] if grace_s > 0 else [])]
        _write(self.kept_file, "\n".join(lines) + "\n", replace=True)

    def _installation(self) -> Iterator[str]:
        settings, now_s = self._settings, self._clock()
        if settings.secret is not None:
            yield settings.secret.get_secret_value()
            if settings.previous_secret is not None:
                yield settings.previous_secret.get_secret_value()
            return
        kept = self._kept() if settings.secret_file is None else _read(settings.secret_file)
        for number, each in enumerate(kept):
            if number == 0 or each.until_s is None or now_s < each.until_s:
                yield each.secret

    def _kept(self) -> list[Kept]:
        """Those in the data folder, made now if there are none."""
        if not self.kept_file.exists() and _write(self.kept_file, f"{new_secret()}\n", replace=False):
            logger.info("made a secret for webhooks: %s", self.kept_file)
        return _read(self.kept_file)


def _read(file: Path) -> list[Kept]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"The file of webhook secrets {file} cannot be read: {error.strerror}.") from error
    lines = [line.strip() for line in data.decode("ascii", "replace").splitlines()]
    kept = [_line(line, file, number) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    if not kept or len(data) > _LARGEST_BYTES:
        raise ConfigurationError(
            f"The file of webhook secrets {file} holds no secret.", hint="Write one in its first line."
        )
    return kept


def _line(line: str, file: Path, number: int) -> Kept:
    found = _LINE.fullmatch(line)
    secret, until = ("", None) if found is None else (found[1], found[2])
    try:
        webhook_key(secret)
        return Kept(secret, None if until is None else datetime.fromisoformat(until).timestamp())
    except ValueError:
        # Without a cause: it could repeat the line.
        raise ConfigurationError(
            f"Line {number} of the file of webhook secrets {file} holds no secret.",
            hint="A secret is whsec_ and 24 to 64 bytes in Base64; make one with: waypost webhooks secret --new",
        ) from None


def _write(file: Path, text: str, *, replace: bool) -> bool:
    """Write it so that others see all of it or nothing. False: it was there, and was to stay."""
    partial: Path | None = None
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        partial = Path(name)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        if replace:
            partial.replace(file)
        else:
            with suppress(FileExistsError):
                # Of several processes that make one at the same time, one does.
                os.link(partial, file)
                return True
    except OSError as error:
        raise ConfigurationError(
            f"The file of webhook secrets {file} cannot be written: {error.strerror}.",
            hint="Give this user the right to write there, or set webhooks.secret.",
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    return replace
