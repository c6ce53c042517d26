import json
from pathlib import Path

import pytest

from entourage.probe.config import ConfigError, ProbeConfig, read_config

MINIMAL = {"region": "users-east", "address": "203.0.113.10", "log": "raw.jsonl"}


def test_a_configuration_survives_the_way_through_json() -> None:
    config = ProbeConfig(region="r", address="203.0.113.10", log="l", sessions=7, netns="/run/netns/x", realtime=True)
    assert ProbeConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_whole_numbers_are_fine_where_fractions_are() -> None:
    assert ProbeConfig.from_json({**MINIMAL, "requests_per_s": 5}).requests_per_s == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sesions": 5}, "unknown key 'sesions'; known are region, address"),
        ({"sessions": "5"}, "sessions must be of type int, not '5'"),
        ({"sessions": True}, "sessions must be of type int, not True"),
        ({"realtime": 1}, "realtime must be of type bool, not 1"),
        ({"netns": 3}, "netns must be of type str | None, not 3"),
        ({"sessions": -1}, "sessions must be 0 or more, not -1"),
        ({"message_interval_s": 0}, "message_interval_s must be above 0, not 0"),
        ({"session_port": 65536}, "session_port must be a port from 1 to 65535, not 65536"),
        ({"address": "example.com"}, "address 'example.com' is not an IPv4 address"),
        ({"region": "a b"}, "region 'a b' must be letters"),
    ],
)
def test_each_mistake_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ProbeConfig.from_json({**MINIMAL, **change})
    assert message in str(caught.value)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="missing address, log"):
        ProbeConfig.from_json({"region": "users-east"})


@pytest.mark.parametrize(
    ("text", "message"),
    [("{,}", "c.json:1:2: not JSON"), ("[]", "c.json: expected a JSON object"), ("{}", "c.json: missing region")],
)
def test_a_mistake_in_a_file_is_reported_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(str(path))
    assert message in str(caught.value)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_config(str(tmp_path / "none.json"))
