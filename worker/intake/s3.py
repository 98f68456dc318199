"""Objects in S3, or in any store that speaks its protocol.

`s3://bucket/key`, the key as it is: nothing in it is percent-decoded, as in the AWS command line. Credentials,
region and endpoint come from where boto3 looks for them (AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_ENDPOINT_URL, an
instance role ...): the operator's choice, so the checks for private addresses do not apply.
"""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from schema.reasons import Reason
from worker.errors import Cause, JobError, Transient
from worker.intake.fetch_limits import FetchLimits, in_units
from worker.intake.uri import shown

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

# No colon: boto3 would take an ARN as a bucket, and with it another region or service.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_CHUNK_BYTES = 1 << 16
_MAX_KEY_BYTES = 1024  # Amazon S3 User Guide, Naming Amazon S3 objects

_CODES_GONE = {"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "404"}
_CODES_MAY_PASS = {"RequestTimeout", "RequestTimeTooSkewed"}
_CODES_BUSY = {"SlowDown", "Throttling", "ThrottlingException"}


@dataclass(frozen=True, slots=True)
class S3Object:
    """One row of a listing. `etag` is without its quotes."""

    key: str
    etag: str
    size_bytes: int


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The two parts of "s3://bucket/key"; the key may be empty. Raises JobError(refused_address)."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise JobError(Reason.REFUSED_ADDRESS, f"{shown(uri)} does not name a bucket.")
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError as error:  # JSON can carry half a surrogate pair
        raise JobError(Reason.REFUSED_ADDRESS, f"{shown(uri)}: the key is no text in Unicode.") from error
    if size_bytes > _MAX_KEY_BYTES:
        raise JobError(Reason.REFUSED_ADDRESS, f"{shown(uri)}: the key is longer than {_MAX_KEY_BYTES} bytes.")
    if ".." in key.split("/"):
        # A key is sent as it is, and a proxy before the store may take this for the bucket beside.
        raise JobError(Reason.REFUSED_ADDRESS, f'{shown(uri)}: the key has ".." as a part of its own.')
    return bucket, key


class S3Fetcher:
    """Gets and lists objects. Thread-safe: one client, made when first needed, serves all threads."""

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._client: Any = None

    def get(self, uri: str) -> bytes:
        """The whole object at `uri`.

        Raises JobError (not_found, forbidden, refused_address, too_large) and Transient (unreachable,
        timeout).
        """
        bucket, key = bucket_and_key(uri)
        allowed = self._limits.allow_buckets
        if allowed is not None and bucket not in allowed:
            raise JobError(Reason.REFUSED_ADDRESS, f"The bucket {bucket} is not among the allowed ones.")
        if not key:
            raise JobError(Reason.REFUSED_ADDRESS, f"{shown(uri)} names a bucket but no object.")
        deadline = time.monotonic() + self._limits.timeout_s
        with _Failures(uri):
            answer = self._connected().get_object(Bucket=bucket, Key=key)
            stream = answer["Body"]
            try:
                size_bytes = int(answer["ContentLength"])
                if size_bytes > self._limits.max_bytes:
                    limit = in_units(self._limits.max_bytes)
                    raise JobError(
                        Reason.TOO_LARGE, f"{shown(uri)} has {in_units(size_bytes)}; the limit is {limit}."
                    )
                body = BytesIO()
                while chunk := stream.read(_CHUNK_BYTES):  # raises when the stream ends early
                    body.write(chunk)
                    if time.monotonic() > deadline:
                        raise Transient(
                            Reason.TIMEOUT,
                            f"{shown(uri)} did not arrive within {self._limits.timeout_s:g} s.",
                        )
                return body.getvalue()
            finally:
                stream.close()

    def list(self, uri: str, *, recursive: bool = True) -> Iterator[S3Object]:
        """The objects whose keys start with the key of `uri`, page by page, in the store's order (by key).

        Not `recursive`: only those without a further "/". Raises as `get` does.
        """
        bucket, prefix = bucket_and_key(uri)
        with _Failures(uri):
            paginator = self._connected().get_paginator("list_objects_v2")
            delimiter = {} if recursive else {"Delimiter": "/"}
            for page in paginator.paginate(Bucket=bucket, Prefix=prefix, **delimiter):
                for row in page.get("Contents", ()):
                    yield S3Object(row["Key"], str(row.get("ETag", "")).strip('"'), int(row.get("Size", 0)))

    def close(self) -> None:
        """Closes the client's connections. No other call may be running."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connected(self) -> Any:
        # Clients may be shared between threads, the making of one may not.
        with self._lock:
            if self._client is None:
                import boto3
                from botocore.config import Config

                config = Config(
                    connect_timeout=self._limits.connect_timeout_s,
                    read_timeout=min(30.0, self._limits.timeout_s),
                    retries={"total_max_attempts": 2, "mode": "standard"},
                    max_pool_connections=64,
                )
                try:
                    self._client = boto3.session.Session().client("s3", config=config)
                except ValueError as error:  # botocore's word for a malformed endpoint
                    raise JobError(Reason.UNREACHABLE, f"The S3 settings are wrong: {error}.") from error
            return self._client


class _Failures:
    """Turns what boto3 raises inside the block into this project's errors."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None or isinstance(error, JobError | GeneratorExit):
            return
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, ClientError):
            raise _answered(self._uri, error) from error
        if isinstance(error, BotoCoreError):
            raise _not_answered(self._uri, error) from error


def _answered(uri: str, error: "ClientError") -> JobError:
    """The failure behind an answer of the store that is an error."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    detail = f"{shown(uri)}: the store answered {code or status}."
    if code == "InvalidObjectState":
        return JobError(Reason.FORBIDDEN, f"{shown(uri)} is in cold storage and must be restored first.")
    if code in _CODES_BUSY or status in {429, 503}:
        return Transient(Reason.UNREACHABLE, detail, cause=Cause.BUSY)
    if code in _CODES_MAY_PASS or status >= 500:
        return Transient(Reason.UNREACHABLE, detail)
    if code in _CODES_GONE or status == 404:
        return JobError(Reason.NOT_FOUND, detail)
    if status in {401, 403}:
        return JobError(Reason.FORBIDDEN, detail)
    return JobError(Reason.UNREACHABLE, detail)


def _not_answered(uri: str, error: "BotoCoreError") -> JobError:
    """The failure behind an error on this side of the store, or on the way to it."""
    from botocore import exceptions

    if isinstance(error, exceptions.ConnectTimeoutError | exceptions.ReadTimeoutError):
        return Transient(Reason.TIMEOUT, f"{shown(uri)}: the store did not answer in time.")
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError | exceptions.IncompleteReadError):
        return Transient(Reason.UNREACHABLE, f"{shown(uri)}: the connection to the store failed.")
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return JobError(
            Reason.FORBIDDEN,
            f"{shown(uri)}: there are no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
            " or AWS_PROFILE.",
        )
    return JobError(Reason.UNREACHABLE, f"{shown(uri)}: {type(error).__name__}.")
