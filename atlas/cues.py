"""The kinds of cues that an Atlas scene may show, and the values of each: the one vocabulary of this world.

`atlas.world` says how likely each value is at each place, `atlas.render` draws them, `atlas.language` words them.
A kind's level is the finest kind of place that its distribution depends on: driving on the left is a property of
a country, palms of a region, a landmark of a city.
"""

from dataclasses import dataclass
from typing import Literal

Level = Literal["country", "region", "city"]


@dataclass(frozen=True, slots=True)
class CueKind:
    """One thing that may be seen in a scene and differs between places; `values` is the closed list."""

    name: str
    level: Level
    values: tuple[str, ...]


LANDMARKS = (
    "arch",
    "cathedral_two_spires",
    "church_one_spire",
    "clock_tower",
    "dome",
    "lattice_tower",
    "leaning_tower",
    "minaret_pair",
    "needle_tower",
    "obelisk",
    "onion_domes",
    "pagoda",
    "pyramid",
    "statue_raised_arm",
    "suspension_bridge",
    "cable_stayed_bridge",
    "stone_arch_bridge",
    "castle_keep",
    "city_wall_gate",
    "ferris_wheel",
    "lighthouse",
    "opera_shells",
    "stepped_temple",
    "torii_gate",
    "twin_towers",
    "windmill",
    "stupa",
    "aqueduct",
    "cross_on_hill",
    "table_mountain_cable",
    "sail_tower",
    "colonnade_temple",
)

KINDS = (
    CueKind("driving_side", "country", ("left", "right")),
    CueKind("centre_line", "country", ("white_dashed", "white_solid", "yellow_dashed", "yellow_double")),
    CueKind("kerb", "country", ("plain", "red_white", "black_white", "yellow_black")),
    CueKind("plate", "country", ("white", "yellow", "blue_band", "black", "green", "red")),
    CueKind("bollard", "country", ("red_band", "black_band", "yellow_top", "white_slim", "striped")),
    CueKind(
        "roof", "country", ("red_gable", "grey_mansard", "flat_white", "thatched", "blue_tile", "black_slate")
    ),
    CueKind("wall", "country", ("brick", "white_plaster", "ochre", "red_wood", "concrete", "pastel")),
    CueKind(
        "script",
        "country",
        ("latin", "cyrillic", "greek", "arabic", "hebrew", "devanagari", "thai", "han", "kana", "hangul"),
    ),
    CueKind("warning_sign", "country", ("triangle_white", "triangle_yellow", "diamond_yellow")),
    CueKind("taxi", "country", ("yellow", "black", "white", "green", "red", "blue")),
    CueKind("light", "country", ("sun_north", "sun_south")),
    CueKind(
        "vegetation",
        "region",
        ("palm", "conifer", "broadleaf", "cypress", "cactus", "birch", "eucalyptus", "baobab"),
    ),
    CueKind("ground", "region", ("green_grass", "dry_grass", "red_earth", "sand", "snow", "grey_gravel")),
    CueKind("relief", "region", ("flat", "hills", "snowy_peaks", "mesa", "volcano", "sea")),
    CueKind("landmark", "city", LANDMARKS),
)

KIND_BY_NAME = {kind.name: kind for kind in KINDS}
