"""Photographs of a collection to be looked at one by one."""

from sqlalchemy import text

# The addresses of a collection's photographs with what their bytes were, each photograph once.
PHOTOGRAPHS_OF_COLLECTION = text("""
    SELECT DISTINCT ON (i.sha256) i.sha256, j.uri
    FROM job j JOIN image i ON i.id = j.image_id JOIN collection c ON c.id = j.collection_id
    WHERE c.name = :collection
    ORDER BY i.sha256, j.uri
""")
