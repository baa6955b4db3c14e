"""The sections [[realm.webhook]]: what they may contain, and the sentences about mistakes."""

from base64 import b64encode
from pathlib import Path

import pytest

from fox_shard.config import ConfigError, Webhook, load, load_with_origins, parse
from fox_shard.config.rendering import render

SECRET = "whsec_" + b64encode(bytes(32)).decode()
URL = 'url = "https://example.com/"'
TOPIC = 'topic = "a.#"'


def config(*lines, head=""):
    text = "\n".join([head, "[[realm]]", 'name = "realm1"', "[[realm.webhook]]", *lines])
    return parse(text, {}, folder=Path("/"), name="fox.toml")[0]


def webhook(*lines):
    (one,) = config(*lines).realms[0].webhook
    return one


def test_a_topic_and_a_url_are_enough_and_the_topic_is_the_name():
    assert webhook(TOPIC, URL) == Webhook(name="a.#", topic="a.#", url="https://example.com/")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([URL], "webhook[0].topic must be a topic or a pattern"),
        ([TOPIC], "webhook[0].url must be a URL"),
        (['topic = "a b"', URL], "webhook[0].topic must be a topic or a pattern (match"),
        (['topic = "wamp.a"', URL], "that the server does not reserve"),
        (['topic = "$SYS.a"', URL], "that the server does not reserve"),
        ([TOPIC, 'url = "ftp://example.com/"'], "webhook[0].url must be a URL such as"),
        ([TOPIC, 'url = "https:///path"'], "webhook[0].url must be a URL such as"),
        ([TOPIC, 'url = "https://user:pw@example.com/"'], "without a user, a password"),
        ([TOPIC, 'url = "https://example.com/#x"'], "and a fragment"),
        ([TOPIC, 'url = "https://example.com:99999/"'], "webhook[0].url must be a URL"),
        ([TOPIC, 'url = "https://[::1/"'], "webhook[0].url must be a URL"),
        ([TOPIC, 'url = "https://example.com/a b"'], "webhook[0].url must be a URL"),
        ([TOPIC, URL, "colour = 1"], "there is no setting colour"),
        ([TOPIC, URL, 'secret = "whsec_AAAA"'], "webhook[0].secret: a secret is whsec_ and 24 to"),
        ([TOPIC, URL, f'secret = "{SECRET}"', 'secret_file = "f"'], "leave one of them out"),
        ([TOPIC, URL, 'headers = {"a b" = "c"}'], "headers: 'a b' is no header that can be chosen"),
        ([TOPIC, URL, 'headers = {Host = "c"}'], "headers: 'Host' is no header that can be chosen"),
        ([TOPIC, URL, 'headers = {Webhook-Id = "1"}'], "is no header that can be chosen"),
        ([TOPIC, URL, 'headers = {X = "a\\r\\nY: b"}'], "headers.X: a header's value is printable"),
        ([TOPIC, URL, "headers = {X = 1}"], "webhook[0].headers must be up to 50 texts by name"),
        ([TOPIC, URL, "timeout = 0"], "webhook[0].timeout must be"),
        ([TOPIC, URL, "concurrency = 0"], "webhook[0].concurrency must be"),
        ([TOPIC, URL, "queue_limit = 0"], "webhook[0].queue_limit must be"),
        ([TOPIC, URL, "queue_bytes = 1"], "webhook[0].queue_bytes must be"),
        ([TOPIC, URL, 'when_full = "block"'], "webhook[0].when_full must be"),
        ([TOPIC, URL, "give_up_after = 0"], "webhook[0].give_up_after must be"),
        ([TOPIC, URL, "longest_delay = 0"], "webhook[0].longest_delay must be"),
        ([TOPIC, URL, "[[realm.webhook]]", TOPIC, URL], 'there are two webhooks "a.#"'),
        ([TOPIC, URL, "timeout = 29.5"], "reducer.timeout, 30 s, must be longer by 1 s"),
    ],
)
def test_a_mistake_is_told_in_one_sentence_with_its_place(lines, sentence):
    with pytest.raises(ConfigError) as told:
        config(*lines)
    assert sentence in str(told.value)


@pytest.mark.parametrize("lines", [['headers = {X = "secret\\n"}'], ['secret = "top secret"']])
def test_a_mistake_is_told_without_the_secret(lines):
    with pytest.raises(ConfigError) as told:
        config(TOPIC, URL, *lines)
    assert "secret\n" not in str(told.value)
    assert "top secret" not in str(told.value)


def test_files_are_beside_the_configuration(tmp_path):
    file = tmp_path / "conf" / "fox.toml"
    file.parent.mkdir()
    more = ['secret_file = "s"', 'ca_file = "ca/a.pem"']
    file.write_text(
        "\n".join(["[[realm]]", 'name = "realm1"', "[[realm.webhook]]", TOPIC, URL, *more])
    )
    (one,) = load(file, {}).realms[0].webhook
    assert one.secret_file == str(tmp_path / "conf" / "s")
    assert one.ca_file == str(tmp_path / "conf" / "ca" / "a.pem")


def test_what_is_printed_is_a_configuration_without_secrets(tmp_path):
    file = tmp_path / "fox.toml"
    file.write_text(
        "\n".join(
            [
                "[[realm]]", 'name = "realm1"', "[[realm.webhook]]", TOPIC,
                'url = "https://example.com/a?token=1234"', f'secret = "{SECRET}"',
                'headers = {Authorization = "Bearer 5678"}',
            ]
        )
    )  # fmt: skip
    printed = render(*load_with_origins(file, {}))
    for secret in ("1234", SECRET, "5678"):
        assert secret not in printed
    assert 'url = "https://example.com/a?…"' in printed
    assert 'headers = {"Authorization" = "…"}' in printed
