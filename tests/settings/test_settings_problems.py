"""Every mistake has its own sentence, with file, line and key; all mistakes are named at once."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from waypost.errors import ConfigurationError
from waypost.settings import InvalidSettings, Settings, load_settings
from waypost.settings.document import MAX_SIZE_BYTES
from waypost.settings.server import exposure, is_exposed

OPENAI = "providers: {o: {kind: openai}}\n"
KEY = "a-key-of-16-signs-or-more"

ROWS: list[tuple[str, str]] = [
    # keys
    ("sever: {}", "line 1: unknown key sever; did you mean server?"),
    (
        "providers:\n  anthropic:\n    kind: anthropic\n    api_kye: x",
        "line 4: unknown key providers.anthropic.api_kye; did you mean api_key?",
    ),
    (
        "providers: {o: {kind: openai, deadlines: {idel_s: 1}}}",
        "line 1: unknown key providers.o.deadlines.idel_s; did you mean idle_s?",
    ),
    (
        OPENAI + "routes: {default: {target: [o], targets: [o]}}",
        "line 2: unknown key routes.default.target; did you mean targets?",
    ),
    (
        "plugins: [mine]\nproviders: {m: {kind: mine, zzz: 1}}",
        "line 2: unknown key providers.m.zzz; the keys here are kind and options",
    ),
    (
        "providers: {l: {kind: llama_cpp, qqq: 1}}",
        "line 1: unknown key providers.l.qqq; the keys here are kind, model, context_tokens, parallel and threads",
    ),
    ("server: {port: 1}\nserver: {port: 2}", "line 2: the key server is there twice; first in line 1"),
    ("server: {port: 1, port: 2}", "line 1: the key server.port is there twice; first in line 1"),
    ("aliases: {1: default}", 'line 1: a key must be text; write "1" in quotes'),
    ("aliases: {[a]: default}", "line 1: a key must be text"),
    ("aliases: {<<: 5}", "line 1: << must name a mapping of keys to values"),
    # types
    ("just text", "line 1: the file must hold keys with values, such as: server: {port: 8000}"),
    ("server: 5", "line 1: server must hold keys with values, not 5"),
    ("server: {port: abc}", 'line 1: server.port must be a whole number, not "abc"'),
    ("server: {port: 1.5}", "line 1: server.port must be a whole number, not 1.5"),
    ("server: {port: yes}", "line 1: server.port must be a number, not true"),
    ("server: {port: }", "line 1: server.port must be a whole number, not null"),
    ("server:\n  port: 65536", "line 2: server.port must be at most 65535, not 65536"),
    ("server: {port: -1}", "line 1: server.port must be at least 0, not -1"),
    ("server: {shutdown_grace_s: abc}", 'line 1: server.shutdown_grace_s must be a number, not "abc"'),
    ("server: {shutdown_grace_s: .nan}", "line 1: server.shutdown_grace_s must be a number, not NaN"),
    (
        "providers: {o: {kind: openai, deadlines: {idle_s: 0}}}",
        "line 1: providers.o.deadlines.idle_s must be more than 0, not 0",
    ),
    (
        "providers: {o: {kind: openai, deadlines: {total_s: .inf}}}",
        "line 1: providers.o.deadlines.total_s must be a number, not Infinity",
    ),
    (
        "server: {log_level: inof}",
        'line 1: server.log_level must be debug, info, warning or error (did you mean info?), not "inof"',
    ),
    ("server: {log_level: 5}", "line 1: server.log_level must be debug, info, warning or error, not 5"),
    ("server: {cors_origins: http://a}", 'line 1: server.cors_origins must be a list, not "http://a"'),
    ("providers: [a]", "line 1: providers must hold keys with values"),
    (
        "providers: {o: {kind: openai, default_model: 4}}",
        "line 1: providers.o.default_model must be text (put it in quotes), not 4",
    ),
    ('providers: {o: {kind: openai, default_model: ""}}', "line 1: providers.o.default_model is empty"),
    ("data_dir: [a]", "line 1: data_dir must be text (put it in quotes)"),
    ("server: {host: 2026-02-30}", "line 1: a value cannot be read: day is out of range for month"),
    (
        "server: {host: !!python/name:os.system x}",
        (
            "line 1: a value cannot be read: could not determine a constructor "
            "for the tag 'tag:yaml.org,2002:python/name:os.system'"
        ),
    ),
    # values
    (
        'server: {cors_origins: ["*"]}',
        "line 1: server.cors_origins[0] may not be *, which would let any web page use this server; name each site",
    ),
    (
        "server:\n  cors_origins:\n  - http://a\n  - http://b/path",
        "line 4: server.cors_origins[1] must be a site without a path, such as http://localhost:3000",
    ),
    (
        "server: {allowed_hosts: [http://a]}",
        "line 1: server.allowed_hosts[0] must be a host name such as waypost.example.com",
    ),
    ("providers: {}", "line 1: providers is empty; name a provider, or leave the key out"),
    ("providers: {o: 5}", "line 1: providers.o must hold keys with values, among them kind"),
    (
        "providers: {o: {api_key: x}}",
        (
            "line 1: providers.o.kind is missing; it is anthropic, openai, gemini, openai_compatible, azure_openai, "
            "vertex, bedrock, llama_cpp or a plugin's"
        ),
    ),
    (
        "providers: {o: {kind: opnai, api_key: x}}",
        'line 1: providers.o has the unknown kind "opnai"; did you mean openai?',
    ),
    (
        "providers: {o: {kind: zzz}}",
        (
            'line 1: providers.o has the unknown kind "zzz"; the kinds are anthropic, openai, gemini, '
            "openai_compatible, azure_openai, vertex, bedrock and llama_cpp; another's plugin must be named in plugins"
        ),
    ),
    ("providers: {o: {kind: 5}}", "line 1: providers.o.kind must be text (put it in quotes), not 5"),
    (
        "providers:\n  v:\n    kind: openai_compatible",
        "line 2: providers.v needs base_url, because its kind is openai_compatible",
    ),
    *[
        (f'providers: {{o: {{kind: openai, base_url: "{url}"}}}}', f"line 1: providers.o.base_url {told}")
        for url, told in [
            ("api.openai.com", "must be an address such as https://api.example.com/v1"),
            ("ftp://a", "must be an address such as https://api.example.com/v1"),
            ("http://a:99999", "must be an address such as https://api.example.com/v1"),
            ("http://[::1", "must be an address such as https://api.example.com/v1"),
            ("http://a b", "must be an address such as https://api.example.com/v1"),
            ("https://user:pass@a", "may hold no user name or password; put the key into api_key"),
            ("https://a/v1?x=1", "may hold no ? or # part; Waypost appends the paths"),
        ]
    ],
    ("providers: {o: {kind: openai, api_key: 5}}", "line 1: providers.o.api_key must be text (put it in quotes)"),
    (
        'providers: {o: {kind: openai, api_key: " "}}',
        "line 1: providers.o.api_key is empty; leave it out where no key is needed",
    ),
    (
        'providers: {o: {kind: openai, api_key: "a b"}}',
        "line 1: providers.o.api_key holds a character that no key has, such as a space or a line break",
    ),
    (
        'providers: {o: {kind: openai, headers: {"a b": x}}}',
        'line 1: providers.o.headers holds the name "a b", which is no header name',
    ),
    (
        'providers: {o: {kind: openai, headers: {a: "x\\ny"}}}',
        'line 1: providers.o.headers holds a line break or control character in the value of "a"',
    ),
    (
        "providers: {o: {kind: openai, api_key: '${NOPE}'}}",
        "line 1: providers.o.api_key wants the variable NOPE, which is not set; set it, or write ${NOPE:-a default}",
    ),
    (
        "server: {port: '${NOPE}'}",
        "line 1: server.port wants the variable NOPE, which is not set; set it, or write ${NOPE:-a default}",
    ),
    # keys of callers
    ("keys: [a]", "line 1: keys must hold keys with values"),
    ("keys: {a: SECRET-OF-16-SIGNS}", "line 1: keys.a must hold keys with values"),
    ("keys: {a: {}}", "line 1: keys.a needs either key or sha256"),
    (f"keys: {{a: {{key: {KEY}, sha256: {'a' * 64}}}}}", "line 1: keys.a needs either key or sha256, not both"),
    (
        "keys: {a: {key: hunter2}}",
        "line 1: keys.a.key is too short to be safe; use a random one of 16 characters or more",
    ),
    ("keys: {a: {sha256: abc}}", "line 1: keys.a.sha256 must be the key's SHA-256 in 64 hexadecimal digits"),
    (f"keys: {{a: {{key: {KEY}, admin: perhaps}}}}", "line 1: keys.a.admin must be true or false"),
    (f"keys: {{a: {{key: {KEY}, routes: []}}}}", "line 1: keys.a.routes needs at least one entry"),
    (
        f"keys: {{a: {{key: {KEY}, admn: true}}}}",
        "line 1: unknown key keys.a.admn; did you mean admin?",
    ),
    (
        f"keys: {{a/b: {{key: {KEY}}}}}",
        'line 1: keys holds the name "a/b"; a name may hold only letters, digits, and . _ : -',
    ),
    (
        f"keys:\n  a: {{key: {KEY}}}\n  b: {{sha256: {sha256(KEY.encode()).hexdigest().upper()}}}",
        "line 1: keys holds one key twice, as a and b",
    ),
    ("server: {workers: 0}", "line 1: server.workers must be at least 1, not 0"),
    ("server: {max_in_flight: 0}", "line 1: server.max_in_flight must be at least 1, not 0"),
    # keys of providers
    (
        "providers: {o: {kind: openai, api_key: a, api_key_file: b}}",
        "line 1: providers.o has api_key and api_key_file; use one of them",
    ),
    ("providers: {o: {kind: openai, api_keys: []}}", "line 1: providers.o.api_keys needs at least one entry"),
    (
        'providers: {o: {kind: openai, api_keys: [a, "b c"]}}',
        "line 1: providers.o.api_keys[1] holds a character that no key has, such as a space or a line break",
    ),
    (
        "providers: {o: {kind: openai, wire: chats}}",
        'line 1: providers.o.wire must be chat or responses (did you mean chat?), not "chats"',
    ),
    (
        "providers: {o: {kind: gemini, wire: chat}}",
        (
            "line 1: unknown key providers.o.wire; the keys here are kind, base_url, default_model, headers, "
            "deadlines, proxy, ca_file, requests_per_minute, tokens_per_minute, api_key, api_keys, api_key_file and "
            "key_cool_down_s"
        ),
    ),
    ("providers: {o: {kind: azure_openai}}", "line 1: providers.o.base_url is missing"),
    ("providers: {o: {kind: vertex}}", "line 1: providers.o.project is missing"),
    (
        "providers: {o: {kind: vertex, project: a/../b}}",
        "line 1: providers.o.project may hold only letters, digits, - and _",
    ),
    # routes
    (
        OPENAI + "routes: {r: {targets: [{target: o, wieght: 2}]}}",
        "line 2: unknown key routes.r.targets[0].wieght; did you mean weight?",
    ),
    (OPENAI + "routes: {r: {targets: [{weight: 2}]}}", "line 2: routes.r.targets[0].target is missing"),
    (
        OPENAI + "routes: {r: {targets: [{target: o, weight: 0}]}}",
        "line 2: routes.r has targets of weight 0 only; one must have more",
    ),
    (
        OPENAI + "routes: {r: {targets: [o, {target: p, weight: 2}]}}",
        'line 2: routes.r.targets[1] names the unknown provider, route or alias "p"; the providers are o',
    ),
    (
        OPENAI + "routes: {r: {targets: [{target: s}]}, s: {targets: [{target: r}]}}",
        "line 2: routes.r leads back to itself: r -> s -> r",
    ),
    (
        OPENAI + "routes: {r: {targets: [o], policy: {hedge_max_cost_usd: 1}}}",
        "line 2: routes.r.policy has hedge_max_cost_usd, which does nothing without hedge_after_s",
    ),
    (
        OPENAI + "routes: {r: {targets: [o], policy: {fall_back_on: [contextlength]}}}",
        (
            "line 2: routes.r.policy.fall_back_on[0] must be context_length, content_policy or bad_request "
            '(did you mean context_length?), not "contextlength"'
        ),
    ),
    (
        OPENAI + "routes: {r: {targets: [o], cache: {max_bytes: 0}}}",
        "line 2: routes.r.cache.max_bytes must be at least 1, not 0",
    ),
    # names
    (
        OPENAI + "routes:\n  default:\n    targets:\n    - opneai/x\n    - o",
        'line 5: routes.default.targets[0] names the unknown provider "opneai"; the providers are o',
    ),
    (
        "providers: {openai: {kind: openai}}\nroutes: {default: {targets: [opneai/x]}}",
        'line 2: routes.default.targets[0] names the unknown provider "opneai"; did you mean openai?',
    ),
    (
        OPENAI + "routes: {r: {targets: [gpt-5]}}",
        'line 2: routes.r.targets[0] names the unknown provider, route or alias "gpt-5"; the providers are o',
    ),
    (
        OPENAI + "routes: {r: {targets: [o/]}}",
        'line 2: routes.r.targets[0] is "o/", which names no model; write o/<model>, or o alone',
    ),
    (OPENAI + "routes: {r: {targets: []}}", "line 2: routes.r.targets needs at least one entry"),
    (OPENAI + "routes: {r: {}}", "line 2: routes.r.targets is missing"),
    (OPENAI + "routes: {r: {targets: [5]}}", "line 2: routes.r.targets[0] must be text (put it in quotes), not 5"),
    (
        OPENAI + "aliases: {fast: fastre, faster: o}",
        'line 2: aliases.fast names the unknown provider, route or alias "fastre"; did you mean faster?',
    ),
    (
        OPENAI + "aliases: {default: o}\nroutes: {default: {targets: [o]}}",
        "line 2: aliases.default has the name of a route; choose another name",
    ),
    (OPENAI + "aliases: {o: o/x}", "line 2: aliases.o has the name of a provider; choose another name"),
    ("providers: {default: {kind: openai}}", "line 1: providers.default has the name of a route; choose another name"),
    (OPENAI + "routes: {o: {targets: [o]}}", "line 1: providers.o has the name of a route; choose another name"),
    (
        OPENAI + "routes:\n  a: {targets: [b, o]}\n  b: {targets: [a]}",
        "line 3: routes.a leads back to itself: a -> b -> a",
    ),
    (OPENAI + "aliases: {a: b, b: c, c: b}", "line 2: aliases.b leads back to itself: b -> c -> b"),
    (OPENAI + "routes: {r: {targets: [x]}}\naliases: {x: r}", "line 2: routes.r leads back to itself: r -> x -> r"),
    (OPENAI + "aliases: {a: a}", "line 2: aliases.a leads back to itself: a -> a"),
    *[
        (text, f'{line}: the name "{name}" in {group} may hold only letters, digits, and . _ : -')
        for text, line, name, group in [
            ("providers: {a/b: {kind: openai}}\nroutes: {default: {targets: [local]}}\n", "line 1", "a/b", "providers"),
            (OPENAI + "routes: {a/b: {targets: [o]}}", "line 2", "a/b", "routes"),
            (OPENAI + 'aliases: {"a b": o}', "line 2", "a b", "aliases"),
            (OPENAI + 'aliases: {"": o}', "line 2", "", "aliases"),
        ]
    ],
    # YAML
    ("server: {port: 1\n", "line 2 column 1: not valid YAML: did not find expected ',' or '}'"),
    ("a: 1\n\tb: 2", "line 2 column 1: not valid YAML: found a tab character that violates indentation"),
    ("server: *none", "line 1 column 9: not valid YAML: found undefined alias"),
    ("a: b\nc\x01", "line 2 column 2: not valid YAML: control characters are not allowed"),
    ("{a: 1}\n---\n{b: 2}", "line 2 column 1: not valid YAML: but found another document"),
    ("aliases: &a {x: *a}", "line 1: nested deeper than 24 levels"),
    ("a: " + "[" * 100 + "]" * 100, "line 1: nested deeper than 24 levels"),
    ("a: " + "[" * 100_000, "line 1: nested deeper than 24 levels"),
]


def problems_of(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    file = tmp_path / "waypost.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidSettings) as caught:
        load_settings(file, environ or {})
    return [str(problem).removeprefix(f"{file} ") for problem in caught.value.problems]


@pytest.mark.parametrize(("text", "expected"), ROWS, ids=[text[:60] for text, _ in ROWS])
def test_each_mistake_has_its_sentence(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in problems_of(tmp_path, text)


def test_a_list_whose_only_entry_is_wrong_is_not_also_too_short(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, OPENAI + "routes: {r: {targets: [5]}}")
    assert problems == ["line 2: routes.r.targets[0] must be text (put it in quotes), not 5"]


def test_all_mistakes_of_a_file_are_named_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = """
server: {prot: 8000}
providers:
  a: {kind: anthropic, api_key: "${NOPE}", api_kye: x}
  b: {kind: opnai, whatever: 1}
  b: {kind: openai}
routes: {default: {targets: [a, c/x]}}
aliases: {x: y}
"""
    assert problems_of(tmp_path, text, {"WAYPOST_PORT": "abc"}) == [
        'WAYPOST_PORT: server.port must be a whole number, not "abc"',
        "line 2: unknown key server.prot; did you mean port?",
        "line 4: providers.a.api_key wants the variable NOPE, which is not set; set it, or write ${NOPE:-a default}",
        "line 4: unknown key providers.a.api_kye; did you mean api_key?",
        'line 5: providers.b has the unknown kind "opnai"; did you mean openai?',
        "line 6: the key providers.b is there twice; first in line 5",
        'line 7: routes.default.targets[1] names the unknown provider "c"; the providers are a, b',
        'line 8: aliases.x names the unknown provider, route or alias "y"; the providers are a, b',
    ]


def test_the_error_is_a_configuration_error_with_one_line_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "waypost.yaml"
    file.write_text("sever: {}\nrotues: {}")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, {})
    assert str(caught.value).splitlines() == [
        f"{file} line 1: unknown key sever; did you mean server?",
        f"{file} line 2: unknown key rotues; did you mean routes?",
    ]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"WAYPOST_CORS_ORIGINS": "http://a,b"},
            "WAYPOST_CORS_ORIGINS: server.cors_origins[1] must be an address such as https://api.example.com/v1",
        ),
        (
            {"OPENAI_API_KEY": "a b"},
            (
                "OPENAI_API_KEY: providers.openai.api_key holds a character that no key has, "
                "such as a space or a line break"
            ),
        ),
        (
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "nowhere"},
            "OPENAI_BASE_URL: providers.openai.base_url must be an address such as https://api.example.com/v1",
        ),
    ],
)
def test_mistakes_in_the_environment_name_the_variable(
    environ: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSettings) as caught:
        load_settings(environ=environ)
    assert str(caught.value) == expected


def test_a_value_from_a_variable_is_not_shown(tmp_path: Path) -> None:
    """It may be a secret that was put into the wrong place."""
    text = 'server: {port: "${TOKEN}"}\nproviders: {o: {kind: openai, deadlines: {idle_s: "${TOKEN}"}}}'
    problems = problems_of(tmp_path, text, {"TOKEN": "SECRET"})
    assert problems == [
        "line 1: server.port must be a whole number",
        "line 2: providers.o.deadlines.idle_s must be a number",
    ]


def test_secret_fields_never_show_what_was_written(tmp_path: Path) -> None:
    text = """
providers:
  a: {kind: openai, api_key: "SECRET \\u00e4"}
  b: {kind: openai, api_key: [SECRET]}
  c: {kind: openai, proxy: "SECRET"}
  d: {kind: openai, headers: {x: 12345678}}
  e: {kind: openai, api_keys: SECRET}
  f: {kind: openai, api_keys: ["SECRET x"]}
keys:
  a: SECRET
  b: {key: SECRET}
  c: {sha256: SECRET}
  d: {key: [SECRET]}
"""
    problems = problems_of(tmp_path, text)
    assert len(problems) == 10
    assert not [problem for problem in problems if "SECRET" in problem or "12345678" in problem]


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "waypost.yaml"
    file.write_text("#" * (MAX_SIZE_BYTES + 1))
    with pytest.raises(ConfigurationError, match="is over the limit of 1000000 bytes for a settings file"):
        load_settings(file, {})


def test_aliases_that_expand_without_end_are_refused(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9))
    assert problems_of(tmp_path, bomb)[0].endswith("holds more than 20000 values")


def test_merge_keys_that_expand_without_end_are_refused(tmp_path: Path) -> None:
    bomb = "m0: &m0 {x: 1}\n"
    bomb += "".join(f"m{level}: &m{level} {{<<: [{', '.join([f'*m{level - 1}'] * 10)}]}}\n" for level in range(1, 9))
    assert problems_of(tmp_path, bomb)[0].endswith("holds more than 20000 values")


def test_a_mapping_that_merges_itself_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "aliases: &a {<<: *a}") == ["line 1: nested deeper than 24 levels"]


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "waypost.yaml"
    file.write_bytes(b"server: {host: \xff}")
    with pytest.raises(ConfigurationError, match=r"is not UTF-8 text \(byte 15\)"):
        load_settings(file, {})


def test_settings_built_in_python_check_their_names_too() -> None:
    with pytest.raises(ValueError, match='names the unknown provider, route or alias "nobody"'):
        Settings.model_validate({"routes": {"default": {"targets": ["nobody"]}}})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "waypost.example.com", ""])  # noqa: S104 - refused
def test_an_address_that_others_reach_wants_a_key_from_wherever(host: str) -> None:
    """Settings alone cannot tell: the keys may be in the database, which is asked when the server starts."""
    assert (exposure(host, lambda: True), is_exposed(host)) == (None, True)
    assert "Without keys Waypost only listens on loopback" in (exposure(host, lambda: False) or "")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LocalHost"])
def test_for_a_loopback_address_nobody_asks_whether_there_are_keys(host: str) -> None:
    def has_keys() -> bool:
        raise AssertionError

    assert exposure(host, has_keys) is None
