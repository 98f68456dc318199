"""Where photographs of known place come from: a stored curation, a folder with a table, MP-16 as distributed.

found        what comes out of every source: subjects, and what cannot be used, with the reason
archive      the training side of a stored curation
table        the rows of a CSV, whatever its columns are called
pictures     the file that a row means, and never one outside the folder
known_place  names, codes and ids of a place, completed by the gazetteer
folder       a folder with a CSV, and MP-16 and MP16-Pro
"""

from trainer.curate.sources.archive import held_out_hashes, subjects_of_curation
from trainer.curate.sources.folder import subjects_of_folder, subjects_of_mp16
from trainer.curate.sources.found import Found, LeftOut, Why

__all__ = [
    "Found",
    "LeftOut",
    "Why",
    "held_out_hashes",
    "subjects_of_curation",
    "subjects_of_folder",
    "subjects_of_mp16",
]
