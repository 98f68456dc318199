"""Addresses without what must not be told: passwords in URLs of services, signatures in URLs of photographs.

For messages to people and logs of a photograph's address take `worker.intake.uri.shown`, which leaves out more.
"""

import re

HIDDEN = "***"

_USER_PASSWORD = re.compile(r"(?P<before>^[A-Za-z][A-Za-z0-9+.-]*:/{0,2}[^/?#@:]*):[^/?#]*@", re.ASCII)
_USER = re.compile(r"^(?P<before>https?:/*)[^/?#]*@", re.ASCII | re.IGNORECASE)
_PARAMETER = re.compile(r"(?P<before>(?:^|[?&;#])(?P<name>[^=&;#?]+)=)(?P<value>[^&;#]*)")
_SECRET_NAME = re.compile(
    r"password|passwd|passphrase|pwd|secret|signature|credential|token|api[-_.]?key|access[-_.]?key|private[-_.]?key|"
    r"^(?:x-amz-.*|x-goog-.*|sig|se|sp|sv|key|auth|authorization|policy|code|hmac|hash)$",
    re.IGNORECASE,
)


def without_password(url: str) -> str:
    """The URL of a database or a broker (also several, with `;` between them) without passwords."""
    return ";".join(
        _without_secret_parameters(_USER_PASSWORD.sub(rf"\g<before>:{HIDDEN}@", each)) for each in url.split(";")
    )


def without_signature(uri: str) -> str:
    """The address of a photograph without user, password, and the values of parameters that let somebody in.

    Other parameters stay, so that it still names the photograph. Files and S3 keys are returned as they are. Who
    signs an address by other means (in its path, or by a name that is not known here) is not helped.
    """
    if not uri.lower().startswith(("http:", "https:")):
        return uri
    return _without_secret_parameters(_USER.sub(rf"\g<before>{HIDDEN}@", uri))


def _without_secret_parameters(url: str) -> str:
    address, mark, query = re.split(r"([?#])", url, maxsplit=1) if re.search(r"[?#]", url) else (url, "", "")
    return address + _PARAMETER.sub(_hide, mark + query)


def _hide(found: re.Match[str]) -> str:
    return f"{found['before']}{HIDDEN}" if _SECRET_NAME.search(found["name"]) else found[0]
