"""`python -m schema.export_messages`: the JSON Schemas of all foreign messages, from the models that read them.

They are for producers, who may check what they send before they send it. JSON Schema draft 2020-12.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from schema.foreign import S3BridgedEvent, S3Notification, SubmittedEvent
from schema.messages import LOCATE_TASK, SUBMITTED_TYPE, LocateRequest

FOLDER = Path(__file__).parents[1] / "docs/messages"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

MESSAGES: dict[str, tuple[type[BaseModel], str]] = {
    LOCATE_TASK: (
        LocateRequest,
        "Plain JSON on geotag.ingress; keyword arguments of the Celery task; rows of submission",
    ),
    SUBMITTED_TYPE: (SubmittedEvent, "A CloudEvent in structured mode on geotag.ingress"),
    "s3-event-notification": (S3Notification, "What S3, MinIO and Ceph send, as far as it is looked at"),
    "s3-eventbridge-event": (S3BridgedEvent, "The same by way of EventBridge"),
}


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema of one message."""
    model, says = MESSAGES[name]
    found = model.model_json_schema(by_alias=True)
    return {"$schema": _DIALECT, **found, "title": name, "description": says}


def written(name: str) -> str:
    """Its file's text."""
    return json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes all of them into `docs/messages`, or into the folder that is named."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in MESSAGES:
        (folder / f"{name}.json").write_text(written(name), encoding="utf-8")


if __name__ == "__main__":
    main()
