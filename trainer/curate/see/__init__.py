"""What can be seen in a photograph, and do the reasons name it? The models behind verification.

`entities` reads the visible things out of a text; `segment` and `match` look for them in the picture; `embed`
compares texts; `looker` puts them together for `trainer.curate.verify`.
"""
