"""What a fetch may cost, and where it may reach."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Limits of one `Fetcher`. The defaults suit messages from strangers, but for `file_roots`.

    `timeout_s` bounds a whole web or S3 fetch from name lookup to last byte, redirects included; a local read
    is bounded only by its size, since the operating system offers no timeout for it.
    """

    max_bytes: int = 1 << 30
    timeout_s: float = 120.0
    connect_timeout_s: float = 10.0
    max_redirects: int = 5

    allow_private: bool = False
    """Web addresses inside private networks and on this machine may be fetched, on any port."""

    private_hosts: frozenset[str] = frozenset()
    """Host names for which alone the same holds: "photos.museum.lan", or "*.museum.lan" for all below it.
    International names stand in their ASCII form."""

    allow_hosts: frozenset[str] | None = None
    """The only web hosts that may be asked, written likewise. None: any."""

    allow_buckets: frozenset[str] | None = None
    """The only S3 buckets that may be read. None: all that the credentials open."""

    file_roots: tuple[Path, ...] | None = None
    """The only folders below which files may be read, after symbolic links. None: any; empty: no local file."""

    def __post_init__(self) -> None:
        if self.max_bytes <= 0 or self.timeout_s <= 0 or self.connect_timeout_s <= 0 or self.max_redirects < 0:
            raise ValueError(f"sizes and times must be positive and max_redirects not negative: {self}")


def hosts_include(patterns: frozenset[str], host: str) -> bool:
    """Whether `host` is among `patterns` ("name" or "*.name"), without regard to case or a final dot."""
    name = host.lower().rstrip(".")
    for pattern in patterns:
        wanted = pattern.lower().rstrip(".")
        if name == wanted or (wanted.startswith("*.") and name.endswith(wanted[1:])):
            return True
    return False


def in_units(size_bytes: int) -> str:
    """A size for people: "17 bytes", "1.0 GiB"."""
    if size_bytes < 1024:
        return f"{size_bytes} bytes"
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"
