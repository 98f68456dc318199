"""Fields of `geotag.locate.v1` become a request whose address is canonical, so that a photograph has one job."""

from typing import Any

from schema.messages import MAX_URI_CHARACTERS, LocateRequest
from schema.reasons import MessageReason
from worker.errors import JobError
from worker.ingress.parts import Collections, Refused
from worker.intake.s3 import bucket_and_key
from worker.intake.sources.manifest import address_objection
from worker.intake.uri import file_uri, local_path, scheme_of, shown


def read_request(fields: Any, collections: Collections) -> LocateRequest:
    """The request of a message's fields, a JSON value. Raises `Refused` (unknown_type, bad_fields)."""
    if not isinstance(fields, dict):
        raise Refused(MessageReason.BAD_FIELDS, "the fields are not a JSON object")
    try:
        request = LocateRequest.read({"collection": collections.otherwise} | fields)
    except ValueError as error:
        raise Refused(MessageReason.BAD_FIELDS, str(error)) from None
    uri = canonical(request.uri)
    if uri == request.uri:
        return request
    if len(uri) > MAX_URI_CHARACTERS:
        raise Refused(
            MessageReason.BAD_FIELDS, f"uri: more than {MAX_URI_CHARACTERS:,} characters, percent-encoded"
        )
    return request.model_copy(update={"uri": uri})


def canonical(uri: str) -> str:
    """`uri`, local files in the one spelling that `globetag enqueue` gives them.

    Raises `Refused` (bad_fields) for what will never be an address of a photograph. Whether a host, bucket or
    folder may be read, the fetch decides. Nothing is looked up.
    """
    if scheme_of(uri) in {"", "file"}:
        path = local_path(uri)
        if path is None:
            raise Refused(MessageReason.BAD_FIELDS, f"uri: {shown(uri)} is no absolute path or file: address")
        if ".." in path.split("/"):
            raise Refused(MessageReason.BAD_FIELDS, f"uri: {shown(uri)} has a part “..”")
        return file_uri(path)
    if objection := address_objection(uri):
        raise Refused(MessageReason.BAD_FIELDS, f"uri: {shown(uri)} {objection}")
    if scheme_of(uri) == "s3":
        try:
            _, key = bucket_and_key(uri)
        except JobError as error:
            raise Refused(MessageReason.BAD_FIELDS, f"uri: {error.detail}") from None
        if not key:
            raise Refused(MessageReason.BAD_FIELDS, f"uri: {shown(uri)} names a bucket but no object")
    return uri
