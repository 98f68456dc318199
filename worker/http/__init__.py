"""The HTTP interface: `POST /v1/jobs` and what belongs to it (docs/http.md).

Only files of this folder import the web framework; `tokens` does not, so that settings can be checked anywhere.
"""
