"""`waypost webhooks`: messages to other servers, the secrets they are signed with, and a try."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waypost.cli.administering import opened, print_told, settings_in
from waypost.cli.exit_codes import FAILED
from waypost.cli.limit_options import Duration
from waypost.cli.log_options import owners
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json, print_note, print_table
from waypost.cli.requests import plain

if TYPE_CHECKING:
    from waypost.settings import Settings
    from waypost.webhooks import DeliveryOutcome, WebhookSecrets
    from waypost.webhooks.events import EventType
    from waypost.webhooks.schedule import State

STATES = ("pending", "delivered", "failed", "gone")
MOST = 10_000
HEAD = ("time (UTC)", "event", "state", "tries", "came to", "address", "about", "message")
project_option = click.option("--project", metavar="PROJECT", help="Of this project, by its name or id.")


@click.group()
def webhooks() -> None:
    """List and send messages to other servers, and show what they are signed with."""


@webhooks.command("list")
@project_option
@click.option("--about", metavar="ID", help="Only those about this job or batch.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--event", "event_type", metavar="TYPE", help="Only of this type, such as job.failed.")
@click.option("--limit", type=click.IntRange(1, MOST), default=20, show_default=True, help="How many.")
@config_option
@json_option("the messages")
def list_messages(
    project: str | None,
    about: str | None,
    state: State | None,
    event_type: EventType | None,
    limit: int,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """List messages, the newest first. Of addresses nothing is shown that may be secret."""
    from waypost.webhooks.log import MOST_ROWS, Delivery, DeliveryFilter, find

    found: list[Delivery] = []
    with opened(settings_in(config_file)) as database, database.read() as connection:
        project_id = owners(connection, {"project": project, "key": None})["project_id"]
        wanted = DeliveryFilter(project_id, about, state, event_type)
        while len(found) < limit:
            rows = min(limit - len(found), MOST_ROWS)
            page = find(connection, wanted, limit=rows, after=found[-1].id if found else None)
            found += page
            if len(page) < rows:
                break
    told = [each.told() for each in found]
    if as_json:
        print_json(told)
    elif told:
        print_table([HEAD, *(_row(each) for each in told)])
    else:
        print_note("No message fits.")


def _row(told: dict[str, Any]) -> tuple[str, ...]:
    when = told["created_at"][:19].replace("T", " ")
    about, came_to = told["about"] or "-", told["error_code"] or told["status"] or "-"
    state = f"{told['state']} until {told['next_attempt_at'][11:19]}" if told["next_attempt_at"] else told["state"]
    row = (when, told["event_type"], state, str(told["attempts"]), str(came_to), told["url"], about, told["id"])
    return tuple(plain(text) for text in row)


@webhooks.command()
@click.argument("message_id")
@config_option
@json_option("the message")
def show(message_id: str, config_file: Path | None, as_json: bool) -> None:
    """Show MESSAGE_ID with what is sent, and what the last try came to."""
    import json

    from waypost.webhooks.log import get

    with opened(settings_in(config_file)) as database, database.read() as connection:
        found = get(connection, message_id)
    told = {**found.told(), "body": json.loads(found.body)}
    if as_json:
        print_json(told)
    else:
        print_table([(name, plain(value)) for name, value in told.items() if value is not None])


@webhooks.command()
@click.argument("message_id")
@config_option
@json_option("the message")
def retry(message_id: str, config_file: Path | None, as_json: bool) -> None:
    """Have MESSAGE_ID sent again, whatever came of it, with the same id and all tries. A worker does it."""
    import time

    from waypost.webhooks.log import retry as retry_message

    with opened(settings_in(config_file)) as database, database.write() as connection:
        found = retry_message(connection, message_id, time.time_ns() // 1_000_000)
    print_told({name: value for name, value in found.told().items() if value is not None}, as_json=as_json)


@webhooks.command()
@project_option
@click.option("--rotate", is_flag=True, help="First make a new one; the old one stays good for a while.")
@click.option(
    "--grace", "grace_s", type=Duration(), default="24h", show_default=True, help="How long the old one is good."
)
@click.option("--new", "is_new", is_flag=True, help="Only make one, for the settings, and print it.")
@config_option
@json_option("the secrets")
def secret(
    project: str | None, rotate: bool, grace_s: int, is_new: bool, config_file: Path | None, as_json: bool
) -> None:
    """Print what messages are signed with: those of a project, or without --project warnings of budgets."""
    from waypost.webhooks.signing import new_secret

    if is_new:
        click.echo(new_secret())
        return
    settings = settings_in(config_file)
    project_id = _project_id(settings, project)
    secrets = _secrets(settings)
    if rotate:
        secrets.rotate(grace_s)
    newest, *older = secrets.of(project_id)
    if as_json:
        print_json({"project_id": project_id, "secret": newest, "older": older})
        return
    click.echo(newest)
    if older:
        print_note(f"Messages are signed with {len(older)} older one{'s' if len(older) > 1 else ''} too; see --json.")


@webhooks.command()
@click.argument("url", required=False)
@project_option
@config_option
@json_option("what came of it")
def test(url: str | None, project: str | None, config_file: Path | None, as_json: bool) -> None:
    """Send URL a message of type webhook.test, once and now, by the rules that hold for callers' addresses.

    Without URL it goes to ledger.warning_webhook.
    """
    import asyncio

    settings = settings_in(config_file)
    outcome = asyncio.run(_tested(settings, url, _project_id(settings, project)))
    told = {
        "delivered": outcome.has_arrived,
        "status": outcome.status,
        "error_code": outcome.error_code,
        "reply": outcome.reply.decode("utf-8", "replace"),
        "duration_ms": outcome.duration_ms,
    }
    if as_json:
        print_json(told)
    else:
        print_table([(name, plain(value)) for name, value in told.items() if value not in (None, "")])
    if not outcome.has_arrived:
        raise click.exceptions.Exit(FAILED)


async def _tested(settings: Settings, url: str | None, project_id: str | None) -> DeliveryOutcome:
    import time

    from waypost.webhooks import AddressRules, Message, Sender, WebhookEvent
    from waypost.webhooks.log import new_message_id

    configured = settings.ledger.warning_webhook
    if url is None and configured is None:
        raise click.UsageError("Missing argument 'URL': ledger.warning_webhook is not set.")
    rules = AddressRules(settings.webhooks.allowed_hosts) if url else AddressRules.trusting()
    address = url or str(configured)
    # Here rather than by the sender, which would tell no more than a code.
    rules.check(address)
    now_ms = time.time_ns() // 1_000_000
    event = WebhookEvent("webhook.test", {"project_id": project_id}, now_ms, text="A test of Waypost's.")
    sender = Sender(rules, ca_file=settings.webhooks.ca_file)
    try:
        secrets = _secrets(settings).of(project_id)
        return await sender.deliver(address, Message(new_message_id(now_ms), event.body()), secrets)
    finally:
        await sender.close()


def _secrets(settings: Settings) -> WebhookSecrets:
    from waypost.webhooks import WebhookSecrets

    return WebhookSecrets(settings.webhooks, settings.data_dir)


def _project_id(settings: Settings, project: str | None) -> str | None:
    if project is None:
        return None
    with opened(settings) as database, database.read() as connection:
        found: str | None = owners(connection, {"project": project, "key": None})["project_id"]
    return found
