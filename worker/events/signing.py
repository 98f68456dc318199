"""Signatures of webhooks: Standard Webhooks 1.0 (https://www.standardwebhooks.com), symmetric.

The receiver computes HMAC-SHA256 over `id.timestamp.body` with the secret that both know, and compares.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105
_SECRET_BYTES = 32  # the specification asks for 24 to 64


def new_secret() -> str:
    """A random secret as the receiver is given it: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signature_headers(secrets_: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a message that goes out at `timestamp_s` (Unix time); one signature for each secret."""
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    signatures = (
        hmac.digest(base64.b64decode(secret.removeprefix(SECRET_PREFIX)), signed, hashlib.sha256)
        for secret in secrets_
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in signatures),
    }
