"""GeoJSON (RFC 7946): one FeatureCollection, a Feature for each job, WGS 84, longitude before latitude.

A job without a place is a Feature whose geometry is null (section 3.2), so that nothing is missing. A prediction
beside a known place is only in the properties: the geometry is the one place that counts.
"""

import json
from collections.abc import Iterable
from typing import Any, TextIO

from worker.export.remarks import remarks
from worker.export.rows import ExportRow


def write(rows: Iterable[ExportRow], stream: TextIO) -> int:
    """Writes the collection, one Feature a line; returns the number of Features. Valid also without any."""
    stream.write('{"type": "FeatureCollection", "features": [')
    count = 0
    for row in rows:
        stream.write(",\n" if count else "\n")
        stream.write(json.dumps(feature(row), ensure_ascii=False, allow_nan=False))
        count += 1
    stream.write("\n]}\n")
    return count


def feature(row: ExportRow) -> dict[str, Any]:
    """One job as a Feature; `properties` holds every column but the point, and remarks for people."""
    properties = row.to_json()
    lat, lon = properties.pop("lat"), properties.pop("lon")
    point = None if lat is None else {"type": "Point", "coordinates": [lon, lat]}
    return {
        "type": "Feature",
        "id": row.job_id,
        "geometry": point,
        "properties": properties | {"remarks": remarks(row)},
    }
