"""Where messages go: files that others may read are refused, and nothing secret is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.errors import ConfigError
from synguard.notify.redaction import masked, scrubbed
from synguard.notify.services import Service, load_key, load_services
from synguard.policy.integrations import MOST_URLS
from synguard.policy.load import load_config
from synguard.policy.models import Config, Notify
from tests.support.cli_host import CliHost
from tests.support.config_text import show_config
from tests.support.mail_and_web import Web

SECRET = "s3cr3t-t0ken"
words = st.text("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNP0123456789-_", min_size=8, max_size=20)


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_services_come_from_the_config_and_from_a_file(tmp_path: Path) -> None:
    written(tmp_path / "urls", f"# ops\nmailto://ops:{SECRET}@mx.example.org?to=a@b.org\n\n slack://{SECRET}/x/y\n")
    config = written(tmp_path / "s.toml", '[notify]\nurls = ["https://example.org/hook"]\nurls_file = "urls"\n')
    services = load_services(load_config(config).notify)
    assert [one.name for one in services] == ["1 https://example.org/…", "2 mailto://mx.example.org/…", "3 slack://…"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o622])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "urls", f"https://example.org/{SECRET}\n", mode)
    with pytest.raises(ConfigError, match=r"others may read it, and it holds secrets: chmod 600"):
        load_services(Notify(urls_file=path))
    with pytest.raises(ConfigError, match="chmod 600"):
        load_key(Notify(webhook_key_file=path))


def test_a_line_that_is_no_url_is_named_by_its_number_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "urls", f"https://example.org/\n{SECRET}\n")
    with pytest.raises(ConfigError, match="urls: line 2: is not a URL") as caught:
        load_services(Notify(urls_file=path))
    assert SECRET not in str(caught.value)


def test_a_file_that_is_none_or_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_services(Notify(urls_file=tmp_path / "urls"))
    with pytest.raises(ConfigError, match="not a regular file"):
        load_services(Notify(urls_file=tmp_path))
    with pytest.raises(ConfigError, match="holds no key"):
        load_key(Notify(webhook_key_file=written(tmp_path / "key", "\n")))


def test_there_are_not_more_services_than_threads_are_worth(tmp_path: Path) -> None:
    path = written(tmp_path / "urls", "https://example.org/\n" * (MOST_URLS + 1))
    with pytest.raises(ConfigError, match="9 services are more than 8"):
        load_services(Notify(urls_file=path))


@pytest.mark.parametrize(
    "urls",
    [f'"{SECRET}"', f'["{SECRET}"]', f'["https://{SECRET} x/"]', f'["http://{SECRET}:99999/"]', f'{{ a = "{SECRET}" }}',
     f'[["{SECRET}"]]', f'["https:///{SECRET}"]'],
)  # fmt: skip
def test_a_faulty_url_is_not_repeated(tmp_path: Path, urls: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f"[notify]\nurls = {urls}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert "notify.urls" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_no_form_of_a_config_shows_a_url() -> None:
    config = Config.model_validate({"notify": {"urls": [f"https://ops:{SECRET}@example.org/{SECRET}"]}})
    (service,) = load_services(config.notify)
    for text in (repr(config), str(config), config.model_dump_json(), show_config(config), repr(service), service.name):
        assert SECRET not in text


@given(user=words, password=words, path=words, query=words)
def test_a_mask_hides_all_but_the_host(user: str, password: str, path: str, query: str) -> None:
    for scheme in ("https", "mailtos", "slack", "tgram"):
        url = f"{scheme}://{user}:{password}@mx.example.org:8443/{path}?key={query}"
        assert masked(url) in (f"{scheme}://mx.example.org:8443/…", f"{scheme}://…")


@given(user=words, password=words, path=words, query=words)
def test_what_others_say_is_repeated_without_what_they_were_told(
    user: str, password: str, path: str, query: str
) -> None:
    url = f"https://{user}:{password}@mx.example.org/a/{path}?key={query}"
    answer = f"no route for /a/{path} with key={query} ({user}:{password}); was: {url}\nsee mx.example.org"
    told = scrubbed(answer, url)
    assert not any(secret in told for secret in (user, password, path, query) if secret not in "mx.example.org")
    assert told.isprintable()


def test_a_url_that_cannot_be_taken_apart_is_masked_too() -> None:
    assert masked("https://[broken/secret") == "https://…"
    assert masked("http://[::1]:8080/x") == "http://[::1]:8080/…"
    assert Service("slack://a/b", 2).name == "2 slack://…"


def test_the_test_verb_says_what_each_service_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = CliHost(tmp_path, monkeypatch)
    with Web() as good, Web(500) as bad:
        host.configure(f'[notify]\nname = "web1"\nurls = ["{good.url()}", "{bad.url()}"]\n')
        ran = host.run("notify", "test")
        told = host.run("notify", "test", "--json")
    assert ran.code == told.code == 1
    assert ran.out.splitlines() == [
        f"1 http://127.0.0.1:{good.port}/…: HTTP 200 OK",
        f"2 http://127.0.0.1:{bad.port}/…: FAILED: HTTP 500 Internal Server Error",
    ]
    assert [one["ok"] for one in told.json] == [True, False]
    assert good.bodies[0]["event"] == "test"
    assert "This is a test" in good.bodies[0]["text"]


def test_the_test_verb_succeeds_where_all_take_it_and_fails_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = CliHost(tmp_path, monkeypatch)
    none = host.run("notify", "test")
    assert (none.code, none.err) == (
        1,
        "synguard: no service is configured, so no messages are sent: put urls or urls_file into [notify]\n",
    )
    with Web() as web:
        host.configure(f'[notify]\nurls = ["{web.url()}"]\n')
        assert host.run("notify", "test").code == 0


def test_show_tells_where_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = CliHost(tmp_path, monkeypatch)
    host.configure(f'[notify]\nurls = ["https://example.org/{SECRET}"]\nper_hour = 6\n')
    shown, told = host.run("notify", "show"), host.run("notify", "show", "--json")
    assert shown.out.splitlines()[0] == "1 https://example.org/…"
    assert "at most 6 messages an hour; every 30m while an attack lasts; the end is sent after 1m of quiet" in shown.out
    assert told.json["services"] == ["1 https://example.org/…"]
    assert SECRET not in shown.out + told.out
