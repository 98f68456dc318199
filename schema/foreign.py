"""Messages in shapes that others have defined: CloudEvents, S3 event notifications, and what these travel in.

Unknown fields are let through, as the definitions ask: S3 adds some with each minor version, CloudEvents has
extensions. Only what is used here is named and checked.

Sources: CloudEvents 1.0.2, "Core" and "JSON Event Format"; Amazon S3 User Guide, "Event message structure" and
"EventBridge event message structure"; MinIO and Ceph RGW send the former with differences that are named below.
"""

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints

from schema.messages import LocateRequest

_Name = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class SubmittedEvent(_Open):
    """A CloudEvent that asks for one photograph; `data` has the fields of `geotag.locate.v1`.

    `data_base64` may stand in place of `data`. The same `source` and `id` again is the same event again.
    """

    specversion: Literal["1.0"]
    id: _Name
    source: _Name
    type: Literal["geotag.image.submitted.v1"]
    datacontenttype: str | None = Field(None, description="JSON, or left away")
    data: LocateRequest


class S3Bucket(_Open):
    """Where the object is."""

    name: _Name


class S3Object(_Open):
    """The object. In a notification the key is URL-encoded, with "+" for a blank (Ceph: as it is)."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=8192)]
    eTag: str | None = Field(None, validation_alias=AliasChoices("eTag", "etag"))  # Ceph has written both
    sequencer: str | None = Field(None, description="Hexadecimal; the greater one of an object is the later one")


class S3Entity(_Open):
    """The bucket and the object that an event is about."""

    bucket: S3Bucket
    object: S3Object


class S3Record(_Open):
    """One event of a notification, such as `ObjectCreated:Put`; MinIO and older Ceph write `s3:` before it."""

    eventSource: str = Field("", description="aws:s3, minio:s3, ceph:s3 …")
    eventName: _Name
    s3: S3Entity


class S3Notification(_Open):
    """What S3, MinIO and Ceph send: any number of events, in any order, possibly more than once."""

    Records: list[S3Record]


class S3BridgedEvent(_Open):
    """The same by way of EventBridge: one event; the key is not encoded."""

    source: Literal["aws.s3"]
    detail_type: _Name = Field(validation_alias="detail-type")
    detail: S3Entity
