"""Which files of a folder are photographs to submit, judged by their names alone.

Archives are full of photographs with a wrong suffix or none, so a name is taken unless it is known to be
something else: what stands beside photographs (sidecars, catalogues, notes), other media, and hidden files.
Whether the taken ones are images, decoding decides, and says so for each.
"""

from pathlib import PurePosixPath

_OTHER_SUFFIXES = frozenset(
    suffix
    for kind in (
        ".aae .cos .dop .on1 .pp3 .thm .vrd .xmp",  # edits and previews of cameras and raw developers
        ".csv .json .jsonl .kml .gpx .ndjson .tsv .xml .yaml .yml",  # catalogues, tracks
        ".doc .docx .htm .html .log .md .odt .pdf .rtf .txt .xls .xlsx",  # notes
        ".avi .m4a .m4v .mkv .mov .mp3 .mp4 .mpg .wav .wmv",  # film and sound, live photographs' halves
        ".7z .db .gz .ini .lrcat .md5 .rar .sha1 .sha256 .sqlite .tar .tmp .zip",
    )
    for suffix in kind.split()
)
_OTHER_NAMES = frozenset({"desktop.ini", "ehthumbs.db", "thumbs.db", "icon\r"})
_OTHER_FOLDERS = frozenset({"$recycle.bin", "@eadir", "__macosx", "lost+found", "system volume information"})


def may_be_photograph(name: str) -> bool:
    """Whether a file of this name is submitted when its folder is."""
    plain = name.lower()
    return not (plain.startswith(".") or plain in _OTHER_NAMES or PurePosixPath(plain).suffix in _OTHER_SUFFIXES)


def may_hold_photographs(name: str) -> bool:
    """Whether a folder of this name is entered when the one around it is submitted."""
    return not name.startswith(".") and name.lower() not in _OTHER_FOLDERS
