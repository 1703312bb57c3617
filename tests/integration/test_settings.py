"""One dict, typed, read live, strict about its keys."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from django.test import override_settings

from webhooks_app.conf import Settings, settings, strict
from webhooks_app.conf_parser import parse
from webhooks_app.core.addresses import AddressPolicy
from webhooks_app.core.proxies import parse_proxy
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.transport import TransportOptions


def test_every_setting_has_a_default_that_is_valid_itself():
    values = asdict(Settings())
    assert parse(Settings, values) == Settings()


def test_no_dict_at_all_means_the_defaults(settings):
    del settings.WEBHOOKS
    assert globals()["settings"]() == Settings()


def test_the_dict_is_read_live():
    with override_settings(WEBHOOKS={"RETENTION_DAYS": 7}):
        assert settings().RETENTION_DAYS == 7
        with override_settings(WEBHOOKS={"RETENTION_DAYS": 8}):
            assert settings().RETENTION_DAYS == 8
        assert settings().RETENTION_DAYS == 7
    assert settings().RETENTION_DAYS == 30


def test_an_unknown_key_is_refused_with_the_one_that_was_meant():
    with pytest.raises(ConfigurationError, match="Did you mean 'RETENTION_DAYS'"):
        parse(Settings, {"RETENTON_DAYS": 7})
    with pytest.raises(ConfigurationError, match=r"Known settings: .*ALLOW_HTTP"):
        parse(Settings, {"QQQ": 7})


def test_what_is_no_dict_is_refused():
    with pytest.raises(ConfigurationError, match="must be a dict"):
        parse(Settings, [("RETENTION_DAYS", 7)])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("STRICT", "yes"),
        ("ALLOW_HTTP", 1),
        ("MAX_IN_FLIGHT", 0),
        ("MAX_IN_FLIGHT", True),
        ("MAX_IN_FLIGHT", 1.5),
        ("RETENTION_DAYS", "30"),
        ("RETENTION_DAYS", -1),
        ("RETENTION_DAYS", False),
        ("USER_AGENT", None),
        ("WIRE_FORMATS", []),
        ("ENCRYPTION_KEYS", "one key as text"),
        ("ALLOWED_PORTS", 443),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(key, value):
    with pytest.raises(ConfigurationError, match=key) as caught:
        parse(Settings, {key: value})
    assert caught.value.field == key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ENCRYPTION_KEYS", "c2VjcmV0LWtleQ=="),
        ("ENCRYPTION_KEYS", b"c2VjcmV0LWtleQ=="),
        ("EGRESS", "http://user:c2VjcmV0LWtleQ@proxy:3128"),
        ("WIRE_FORMATS", "c2VjcmV0LWtleQ"),
    ],
)
def test_a_refused_value_is_not_printed_since_it_may_be_a_secret(key, value):
    with pytest.raises(ConfigurationError) as caught:
        parse(Settings, {key: value})
    assert "c2VjcmV0" not in str(caught.value)
    assert type(value).__name__ in str(caught.value)


def test_a_refused_value_in_a_group_is_not_printed():
    with pytest.raises(
        ConfigurationError,
        match=r"WEBHOOKS\['EGRESS'\]\['PROXY'\] must be empty or http://.*, not a value of type list",
    ):
        parse(Settings, {"EGRESS": {"PROXY": ["http://user:c2VjcmV0LWtleQ@proxy:3128"]}})


@pytest.mark.parametrize(
    "proxy",
    ["http://proxy:3128", "http://proxy:3128/", "https://user:pass%40word@proxy.example.com:443", "http://[fd00::1]:3128",
     "socks5h://user:password@10.0.0.1:1080", "socks5h://proxy:1080", ""],
)  # fmt: skip
def test_an_egress_proxy_is_accepted(proxy: str) -> None:
    assert proxy == parse(Settings, {"EGRESS": {"PROXY": proxy}}).EGRESS.PROXY


@pytest.mark.parametrize(
    "proxy",
    ["proxy:3128", "proxy", "http://proxy", "socks5://proxy:1080", "socks4://proxy:1080", "socks4a://proxy:1080",
     "socks://proxy:1080", "ftp://proxy:21", "http://proxy:3128/path", "http://proxy:3128?x=1", "http://proxy:0",
     "http://proxy:99999", "http://:3128", "http://user@proxy:3128", "http://:c2VjcmV0@proxy:3128",
     "http://a%3Ab:c2VjcmV0@proxy:3128", "http://user:c2VjcmV0%0A@proxy:3128", "http://proxy:31 28", "http://[::1:3128",
     "socks5h://user:" + "c2VjcmV0" * 40 + "@proxy:1080", None, 3128],
)  # fmt: skip
def test_another_egress_proxy_is_refused_by_name_and_not_printed(proxy: object) -> None:
    with pytest.raises(ConfigurationError, match=r"\['EGRESS'\]\['PROXY'\] must be .*socks5h://host:port") as caught:
        parse(Settings, {"EGRESS": {"PROXY": proxy}})
    assert caught.value.field == "PROXY"
    assert "c2VjcmV0" not in str(caught.value)


def test_secrets_are_not_in_the_text_of_the_settings() -> None:
    chosen = {
        "ENCRYPTION_KEYS": ["c2VjcmV0"],
        "EGRESS": {"PROXY": "http://user:c2VjcmV0@proxy:3128"},
        "MONITORING": {"METRICS_TOKEN": "c2VjcmV0"},
    }
    assert "c2VjcmV0" not in repr(parse(Settings, chosen))


def test_the_password_of_an_egress_proxy_is_in_no_text() -> None:
    url = "http://user:c2VjcmV0@proxy:3128"
    assert parse_proxy(url).password == "c2VjcmV0"
    assert "c2VjcmV0" not in repr(parse_proxy(url))
    assert "c2VjcmV0" not in repr(TransportOptions(AddressPolicy(), proxy=url))
    with pytest.raises(ValueError, match="must be") as caught:
        parse_proxy(url + "/path")
    assert "c2VjcmV0" not in str(caught.value)


def test_a_number_that_is_out_of_range_is_printed():
    with pytest.raises(ConfigurationError, match="must be a positive whole number, not 0"):
        parse(Settings, {"MAX_IN_FLIGHT": 0})
    with pytest.raises(ConfigurationError, match="must be a number, 0 or more, not -1"):
        parse(Settings, {"RETENTION_DAYS": -1})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_of_seconds_is_finite(value):
    with pytest.raises(ConfigurationError, match="POLL_SECONDS"):
        parse(Settings, {"ENGINE": {"POLL_SECONDS": value}})


@pytest.mark.parametrize(
    ("chosen", "debug", "expected"), [(None, True, True), (None, False, False), (False, True, False)]
)
def test_strict_follows_debug_unless_it_is_set(settings, chosen, debug, expected):
    settings.DEBUG = debug
    settings.WEBHOOKS = {"STRICT": chosen}
    assert strict() is expected


def test_settings_of_the_engine_are_a_dict_of_their_own() -> None:
    assert parse(Settings, {"ENGINE": {"WINDOW": 7}}).ENGINE.WINDOW == 7
    with pytest.raises(ConfigurationError, match=r"WEBHOOKS\['ENGINE'\]\['WINDOWS'\] is not a setting .*'WINDOW'\?"):
        parse(Settings, {"ENGINE": {"WINDOWS": 7}})
    with pytest.raises(ConfigurationError, match=r"WEBHOOKS\['ENGINE'\] must be a dict, not int"):
        parse(Settings, {"ENGINE": 7})
    with pytest.raises(
        ConfigurationError, match=r"WEBHOOKS\['ENGINE'\]\['WINDOW'\] must be a positive whole number, not 0"
    ):
        parse(Settings, {"ENGINE": {"WINDOW": 0}})


@pytest.mark.parametrize(
    ("raw", "suggestion"),
    [
        ({"FROM_EMAIL": "a@example.com"}, "WEBHOOKS['NOTIFICATIONS']['FROM_EMAIL']"),
        ({"API": {"RATE_LIMTI": ""}}, "'RATE_LIMIT'"),
        ({"MONITORNG": {}}, "'MONITORING'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_group_that_it_belongs_to(raw, suggestion):
    with pytest.raises(ConfigurationError) as caught:
        parse(Settings, raw)
    assert f"Did you mean {suggestion}?" in str(caught.value)


def test_a_group_has_defaults_for_what_is_not_set():
    backlog = parse(Settings, {"BACKLOG": {"MAX_DAYS": 7}}).BACKLOG
    assert backlog == replace(Settings().BACKLOG, MAX_DAYS=7)
