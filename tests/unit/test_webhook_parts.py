"""What a webhook is made of: signatures, the times of further attempts, addresses."""

import base64
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from worker.events.posting import receiver, url_fault
from worker.events.retrying import MAX_ATTEMPTS, pause_s, retry_s
from worker.events.signing import SECRET_PREFIX, new_secret, signature_headers


def now_s():
    """When a test asks: receivers take nothing that is some minutes old."""
    return int(datetime.now(UTC).timestamp())


@given(
    body=st.text(max_size=50).map(lambda text: f'{{"a":"{text.encode().hex()}"}}'), message_id=st.uuids().map(str)
)
def test_receivers_that_follow_the_standard_accept_what_we_sign(body, message_id):
    secret = new_secret()
    headers = signature_headers([secret], message_id, now_s(), body.encode())
    Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + " ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers | {"webhook-id": "another"})


def test_the_signature_is_the_one_that_another_implementation_makes():
    secret = "whsec_" + base64.b64encode(bytes(range(24))).decode()
    made = signature_headers([secret], "msg_1", 1700000000, b'{"a":1}')
    theirs = Webhook(secret).sign("msg_1", datetime.fromtimestamp(1700000000, UTC), '{"a":1}')
    assert made == {"webhook-id": "msg_1", "webhook-timestamp": "1700000000", "webhook-signature": theirs}


def test_while_a_secret_is_exchanged_both_sign():
    old, new = new_secret(), new_secret()
    headers = signature_headers([new, old], "m", now_s(), b"{}")
    for secret in (old, new):
        Webhook(secret).verify("{}", headers)


def test_secrets_are_long_random_and_different():
    secrets = {new_secret() for _ in range(50)}
    assert len(secrets) == 50
    assert {len(base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)) for secret in secrets} == {32}


def test_further_attempts_take_longer_each_time_until_it_is_given_up_after_more_than_a_day():
    chance = random.Random(1)
    waits_s = [retry_s(attempts, chance) for attempts in range(1, MAX_ATTEMPTS)]
    assert waits_s[:7] == sorted(waits_s[:7])
    assert 4 < waits_s[0] < 6
    assert 28 < sum(waits_s) / 3600 < 36
    assert retry_s(MAX_ATTEMPTS, chance) is None


@given(attempts=st.integers(1, MAX_ATTEMPTS - 1), asked_s=st.none() | st.floats(0, 1e8), seed=st.integers(0, 99))
def test_what_the_receiver_asks_for_is_waited_within_reason(attempts, asked_s, seed):
    wait_s = retry_s(attempts, random.Random(seed), asked_s=asked_s)
    assert min(asked_s or 0, 12 * 3600) <= wait_s <= 12 * 3600 * 1.1
    assert 0 < pause_s(wait_s) <= 300


def test_attempts_are_scattered():
    assert len({retry_s(4, random.Random(seed)) for seed in range(20)}) > 15


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://hooks.example/x", None),
        ("https://hooks.example:8443/x?y=z", None),
        ("https://[2001:db8::1]/x", None),
        ("http://hooks.example/x", "https"),
        ("ftp://hooks.example/x", "https"),
        ("hooks.example/x", "https"),
        ("https://", "no host"),
        ("https:///x", "no host"),
        ("https://me:pass@hooks.example/x", "user name or password"),
        ("https://hooks.example:99999/x", "valid"),
        ("https://hooks.example:0/x", "port"),
        ("https://hooks.exa mple/x", ""),
        ("https://a\x00b/", ""),
        ("", "https"),
    ],
)
def test_addresses_that_cannot_be_webhooks_are_refused(url, fault):
    found = url_fault(url, allow_private=False)
    assert (found is None) == (fault is None)
    assert fault is None or fault in found


def test_plain_http_is_for_private_networks():
    assert url_fault("http://10.0.0.7:3000/x", allow_private=True) is None


@given(url=st.text(max_size=60) | st.text("htps:/@[]?#.a1%\\ ", max_size=40))
def test_any_address_is_judged_and_shown_without_an_error(url):
    fault = url_fault(url, allow_private=True)
    assert fault is None or fault
    assert "SECRET" not in receiver(f"https://hooks.example/SECRET{url}")


def test_only_the_host_of_an_address_is_shown():
    assert (
        receiver("https://me:SECRET@hooks.example:8443/services/SECRET?token=SECRET")
        == "https://hooks.example:8443"
    )
