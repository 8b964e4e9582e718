"""Where secrets come from, and how one takes another's place."""

from __future__ import annotations

import base64
import logging
import stat
import threading
from pathlib import Path

import pytest

from waypost.errors import ConfigurationError
from waypost.settings import WebhookSettings
from waypost.webhooks import SignatureRefused, WebhookSecrets, verify
from waypost.webhooks.signing import derived_secret, signed_headers

FIRST, SECOND = (f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in (1, 2))
NOW_S = 1_795_694_400.0


class Clock:
    now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def kept(folder: Path, clock: Clock | None = None) -> WebhookSecrets:
    return WebhookSecrets(WebhookSettings(), folder, clock=clock or Clock())


def test_one_is_made_once_and_is_its_owner_s_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    secrets = kept(folder)
    first = secrets.of("project_1")
    file = folder / "webhook-secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert kept(folder).of("project_1") == first
    assert first == (derived_secret(file.read_text().strip(), "project_1"),)
    assert [path.name for path in folder.iterdir()] == ["webhook-secret"]
    assert not secrets.is_configured


def test_of_many_who_make_one_at_once_all_use_the_same(tmp_path: Path) -> None:
    found: list[tuple[str, ...]] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait()
        found.append(kept(tmp_path).of(None))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_the_settings_come_first_and_need_no_folder(tmp_path: Path) -> None:
    settings = WebhookSettings.model_validate({"secret": FIRST, "previous_secret": SECOND})
    secrets = WebhookSecrets(settings, tmp_path / "nothing")
    assert secrets.of("p") == (derived_secret(FIRST, "p"), derived_secret(SECOND, "p"))
    assert secrets.is_configured
    assert not (tmp_path / "nothing").exists()


def test_a_file_holds_the_newest_first_and_says_until_when_others_are_good(tmp_path: Path) -> None:
    file, clock = tmp_path / "secrets", Clock()
    file.write_text(f"# ours\n{FIRST}\n\n{SECOND} until 2026-11-26T13:00:00Z\n")
    secrets = WebhookSecrets(WebhookSettings(secret_file=file), tmp_path, clock=clock)
    assert secrets.of(None) == (derived_secret(FIRST, None), derived_secret(SECOND, None))
    clock.now_s += 3600
    assert secrets.of(None) == (derived_secret(FIRST, None),)
    file.write_text(SECOND)
    assert secrets.of(None) == (derived_secret(SECOND, None),)


def test_after_a_rotation_both_secrets_are_good_for_the_grace_time(tmp_path: Path) -> None:
    clock = Clock()
    secrets = kept(tmp_path, clock)
    (old,) = secrets.of("p")
    secrets.rotate(grace_s=600)
    new, *others = secrets.of("p")
    assert others == [old]
    assert new != old
    assert stat.S_IMODE((tmp_path / "webhook-secret").stat().st_mode) == 0o600
    headers = signed_headers("msg_1", b"{}", secrets.of("p"), at_s=int(NOW_S))
    for secret in (old, new):
        verify(headers, b"{}", secret, now_s=NOW_S)
    clock.now_s += 601
    assert secrets.of("p") == (new,)
    headers = signed_headers("msg_1", b"{}", secrets.of("p"), at_s=int(clock()))
    with pytest.raises(SignatureRefused):
        verify(headers, b"{}", old, now_s=clock())


def test_without_grace_the_old_one_is_good_for_nothing(tmp_path: Path) -> None:
    secrets = kept(tmp_path)
    (old,) = secrets.of("p")
    secrets.rotate(grace_s=0)
    assert old not in secrets.of("p")
    assert len(secrets.of("p")) == 1


def test_a_configured_one_is_not_rotated_here(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="previous_secret"):
        WebhookSecrets(WebhookSettings.model_validate({"secret": FIRST}), tmp_path).rotate(60)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "whsec_short", f"{FIRST} until tomorrow", f"{FIRST} {SECOND}", "\xff"]
)
def test_a_file_without_a_secret_is_told_by_its_name_and_nothing_of_it_is_repeated(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secrets"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError) as refused:
        WebhookSecrets(WebhookSettings(secret_file=file), tmp_path).of(None)
    assert str(file) in refused.value.message
    assert FIRST not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_file_that_is_missing_and_a_folder_that_may_not_be_written_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        WebhookSecrets(WebhookSettings(secret_file=tmp_path / "none"), tmp_path).of(None)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        kept(tmp_path / "file").of(None)


def test_no_secret_is_in_any_text_of_the_settings_or_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = WebhookSettings.model_validate({"secret": FIRST, "previous_secret": SECOND})
    with caplog.at_level(logging.DEBUG):
        made = kept(tmp_path).of(None)
    told = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {caplog.text}"
    for secret in (FIRST, SECOND, made[0], (tmp_path / "webhook-secret").read_text().strip()):
        assert secret not in told
    assert "webhook-secret" in caplog.text
