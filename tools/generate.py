"""Writes the generated files, or says which of them are stale: python -m tools.generate [--check].

They are the reference under docs/, from the code, and the list of prices, from a locked package's figures.

A generated file is a row in FILES: its path and the function that gives its text. Functions read the code only,
never the machine: the same commit gives the same text everywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOTICE = "<!-- Written by tools/generate.py; edit the code instead. -->\n"


def settings_schema() -> str:
    """The JSON schema of waypost.yaml."""
    from waypost.settings import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def settings_page() -> str:
    """Every key of waypost.yaml and every environment variable."""
    from waypost.settings import OVERRIDES, json_schema
    from waypost.settings.environment import OTHER_VARIABLES

    schema = json_schema()
    lines = [
        NOTICE,
        "# Settings\n",
        "The keys of `waypost.yaml`. Every one may be left out, unless it says that it is required. `${NAME}` in a",
        "value is taken from the environment and must be set there; `${NAME:-text}` falls back to the text; `$${`",
        "stands for `${`. Paths are relative to the file. `waypost config init` writes a first file with its schema,",
        "`waypost config check` names everything wrong with one, `waypost config show` prints what is in effect.\n",
        *_section("Top level", schema, schema["$defs"]),
    ]
    for name, title in PART_TITLES.items():
        lines += _section(title, schema["$defs"][name], schema["$defs"])
    lines += ["## Environment\n", "These come before the file; options on the command line come before these.\n"]
    lines += ["| variable | key | meaning |", "| --- | --- | --- |"]
    for override in OVERRIDES:
        key = f"`{'.'.join(str(step) for step in override.path)}`" if override.path else ""
        lines.append(f"| `{override.variable}` | {key} | {override.meaning} |")
    lines += [f"| `{name}` |  | {meaning} |" for name, meaning in OTHER_VARIABLES.items()]
    return "\n".join(lines) + "\n"


PART_TITLES = {
    "ServerSettings": "server",
    "LedgerSettings": "ledger",
    "JobSettings": "jobs",
    "TelemetrySettings": "telemetry",
    "WebhookSettings": "webhooks",
    "KeySettings": "keys.&lt;name&gt;",
    "VendorSettings": "providers.&lt;name&gt; of kind anthropic, gemini or openai_compatible",
    "OpenAISettings": "providers.&lt;name&gt; of kind openai",
    "AzureOpenAISettings": "providers.&lt;name&gt; of kind azure_openai",
    "VertexSettings": "providers.&lt;name&gt; of kind vertex",
    "BedrockSettings": "providers.&lt;name&gt; of kind bedrock",
    "Deadlines": "providers.&lt;name&gt;.deadlines",
    "LlamaCppSettings": "providers.&lt;name&gt; of kind llama_cpp",
    "PluginProviderSettings": "providers.&lt;name&gt; of a plugin's kind",
    "RouteSettings": "routes.&lt;name&gt;",
    "TargetSettings": "routes.&lt;name&gt;.targets, where an entry is no text",
    "PolicySettings": "routes.&lt;name&gt;.policy",
    "CacheSettings": "routes.&lt;name&gt;.cache",
    "KindSettings": "kinds.&lt;name&gt;",
    "PriceSettings": "prices.&lt;provider/model&gt;",
    "LongerPromptPrices": "prices.&lt;provider/model&gt;.longer_prompts",
    "TierPrices": "prices.&lt;provider/model&gt;.tiers.&lt;tier&gt;",
}


def _section(title: str, part: Mapping[str, Any], parts: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"{part['description']}\n"
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in part["properties"].items():
        default = "required" if name in part.get("required", ()) else _default(field)
        yield f"| `{name}` | {_type(field, parts)} | {default} | {field['description']} |"
    yield ""


def _default(field: Mapping[str, Any]) -> str:
    return f"`{json.dumps(field['default'])}`" if "default" in field else ""


def _type(field: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """The type in words; the form `${NAME}`, which fits everywhere, is left out."""
    for key in ("anyOf", "oneOf"):
        if key in field:
            options = [option for option in field[key] if not str(option.get("pattern", "")).startswith(r"\$\{")]
            return " or ".join(dict.fromkeys(_type(option, parts) for option in options))
    if "$ref" in field:
        return "see below"
    words: Mapping[str, Callable[[], str]] = {
        "array": lambda: f"list of {_type(field['items'], parts)}",
        "object": lambda: "keys with values",
        "string": lambda: "text",
        "integer": lambda: "whole number" + _range(field),
        "number": lambda: "number" + _range(field),
        "boolean": lambda: "true or false",
        "null": lambda: "null",
    }
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    return f"`{field['const']}`" if "const" in field else words[field["type"]]()


def _range(field: Mapping[str, Any]) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "over", "maximum": "to"}
    told = " ".join(f"{word} {field[key]}" for key, word in words.items() if key in field)
    return f" {told}" if told else ""


def command_page() -> str:
    """The help of every command."""
    from waypost.cli.exit_codes import MEANINGS
    from waypost.cli.main import root

    lines = [NOTICE, "# Commands\n"]
    for path, text in command_helps(root, "waypost"):
        lines += [f"## {path}\n", "```text", text.strip(), "```\n"]
    lines += ["## Exit codes\n", "| code | meaning |", "| --- | --- |"]
    lines += [f"| {code} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(lines) + "\n"


def command_helps(command: Any, path: str, parent: Any = None) -> Iterator[tuple[str, str]]:
    """`waypost models pull` and its help, for every command there is."""
    import click

    name = path.rpartition(" ")[2]
    # The width is fixed: the text must not depend on the terminal of whoever generates it.
    names = ["-h", "--help"]
    with click.Context(
        command, info_name=name, parent=parent, terminal_width=100, color=False, help_option_names=names
    ) as context:
        yield path, command.get_help(context)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                yield from command_helps(command.get_command(context, name), f"{path} {name}", context)


def openapi() -> str:
    """The server's interface, for generated clients."""
    from waypost.app import build
    from waypost.server import create_app
    from waypost.settings import Settings

    return json.dumps(create_app(build(Settings())).openapi(), indent=2, ensure_ascii=False) + "\n"


def error_page() -> str:
    """Every error class."""
    from waypost.errors import WaypostError

    lines = [
        NOTICE,
        "# Errors\n",
        "Every error has a code, which does not change, a message and most often a hint. `status` is the HTTP status",
        "it is answered with; `retried` says whether the same target is asked again, `fallback` whether another is.",
        "`all_providers_failed` takes the status that all its attempts share, else 502; where providers asked to wait,",
        "`Retry-After` is the shortest wait.\n",
        "| class | code | status | retried | fallback | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind in error_classes(WaypostError):
        meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        flags = " | ".join("yes" if flag else "no" for flag in (kind.retryable, kind.fallback))
        lines.append(f"| `{kind.__name__}` | `{kind.code}` | {kind.http_status} | {flags} | {meaning} |")
    return "\n".join(lines) + "\n"


def error_classes(kind: type[Any]) -> Iterator[type[Any]]:
    """The class and those under it that waypost.errors defines, in its order."""
    yield kind
    for under in kind.__subclasses__():
        if under.__module__ == "waypost.errors":
            yield from error_classes(under)


def translation_page() -> str:
    """What is lost between each two wire formats."""
    from tools.translation import translation_page as page

    return page(NOTICE)


def prices() -> str:
    """The prices of models, from genai-prices."""
    from tools.prices import price_list

    return price_list()


FILES: Mapping[str, Callable[[], str]] = {
    "docs/reference/waypost.schema.json": settings_schema,
    "docs/reference/settings.md": settings_page,
    "docs/reference/cli.md": command_page,
    "docs/reference/errors.md": error_page,
    "docs/reference/openapi.json": openapi,
    "docs/reference/translation.md": translation_page,
    "src/waypost/catalogue/prices.json": prices,
}


def stale_files(root: Path = ROOT) -> list[str]:
    """The files that are not what the code would write now."""
    return [path for path, text in FILES.items() if _read(root / path) != text()]


def write_files(root: Path = ROOT) -> None:
    """Write all of them."""
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text(), encoding="utf-8")


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str] | None = None) -> int:
    """The command's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the stale files")
    if not parser.parse_args(arguments).check:
        write_files()
        return 0
    stale = stale_files()
    for path in stale:
        sys.stderr.write(f"{path} is stale; run: make fix\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
