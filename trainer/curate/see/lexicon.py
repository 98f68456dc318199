"""The things that reasons name, and the segmentation classes that show them.

The classes are the 150 of ADE20K's scene parsing benchmark (Zhou et al., CVPR 2017) under the names that published
checkpoints give them; the nouns beside each are ours. `CLASSES[noun]` are all classes under which a checkpoint may
file the thing, since they overlap: a church is a building, at times a house or a tower. Nouns of `BEYOND` name
visible things that no class shows; only a matcher of texts can look for them.
"""

from collections.abc import Mapping

from trainer.rewards.cues import phrase_key

_NOUNS: Mapping[str, str] = {
    # Class or classes, with commas: nouns, with commas. Every class name is a noun for itself.
    "airplane": "aeroplane, plane, aircraft, jet",
    "animal": "dog, cat, cow, horse, sheep, goat, camel, elephant, kangaroo, bird, cattle, monkey, donkey",
    "apparel": "clothing, clothes, uniform, kimono, sari, robe, hat, dress",
    "ashcan": "trash can, rubbish bin, litter bin, garbage can, dustbin, bin",
    "awning": "sunshade, parasol",
    "bannister, railing": "handrail, balustrade, guardrail, guard rail, barrier, crash barrier",
    "bench": "",
    "bicycle": "bike, cycle, rickshaw, cargo bike",
    "boat, ship": "ferry, canoe, gondola, sailboat, yacht, vessel, dhow, kayak, barge",
    "booth": "phone box, telephone box, telephone booth, kiosk, stall, market stall",
    "bridge": "viaduct, overpass, footbridge, flyover, aqueduct",
    "building, house, skyscraper, tower, hovel": (
        "apartment block, apartment building, block of flats, church, cathedral, mosque, temple, pagoda, "
        "palace, castle, fortress, basilica, chapel, shrine, monastery, station, factory, warehouse, "
        "hotel, office building, town hall, city hall, museum, opera house, opera, stadium, synagogue, "
        "stupa, barn, storefront, shopfront, shop, store, cafe, restaurant, high rise, architecture, "
        "facade, mansion, villa"
    ),
    "building, house, hovel": (
        "hut, cottage, cabin, bungalow, farmhouse, terraced house, row house, chalet, shack, home"
    ),
    "building, house, tower": "roof, rooftop, dome, gable, spire, steeple, balcony, chimney, battlement, shutter",
    "bulletin board, signboard, poster": "notice board, billboard, hoarding, advertisement, banner",
    "bus, van": "coach, minibus, double decker, double decker bus, tuk tuk, tuktuk",
    "car, van": "taxi, cab, taxicab, automobile, vehicle, police car, sedan, suv, pickup, jeep, traffic",
    "chandelier, lamp, light": "lantern, light bulb",
    "clock": "",
    "column": "pillar, colonnade, obelisk, portico",
    "column, pole": "bollard, post, pylon, milestone, marker post",
    "dirt track, path, road": "track, trail, gravel road, dirt road, unpaved road, footpath",
    "door": "doorway, gate, gateway, entrance, portal",
    "earth, land, sand, dirt track": "soil, ground, red earth, mud, clay, gravel, desert, dune, terrain",
    "fence, railing": "hedge, picket fence",
    "field, grass": (
        "lawn, meadow, pasture, farmland, crop, vineyard, rice field, rice paddy, paddy, dry grass, turf"
    ),
    "flag": "pennant, bunting",
    "flower, plant": "blossom, bloom, rose, tulip, cherry blossom, bougainvillea",
    "food": "fruit, meal, bread, dish",
    "fountain": "",
    "glass": "",
    "grandstand": "bleacher",
    "hill, mountain": "volcano, peak, mesa, cliff, ridge, mountain range, alp, slope, snowy peak, escarpment",
    "house, building, windowpane": "window, bay window, shopwindow, shop window",
    "lake, water, sea, river": (
        "lagoon, pond, reservoir, canal, harbour, harbor, bay, ocean, fjord, waterfront, stream"
    ),
    "light, streetlight, lamp": "street lamp, street light, lamp post, lamppost, streetlamp",
    "minibike": "motorcycle, motorbike, scooter, moped",
    "palm, tree": "palm tree, coconut palm, date palm",
    "person": "man, woman, people, pedestrian, child, crowd, cyclist, tourist, policeman, police officer, vendor",
    "pier": "jetty, dock, wharf, quay, promenade",
    "plant, tree, palm": "bush, shrub, vegetation, cactus, cacti, fern, foliage, agave, greenery, reed, bamboo",
    "pole": (
        "utility pole, telegraph pole, power pole, electricity pole, lamp pole, power line, mast, "
        "overhead wire, overhead cable, flagpole, telephone pole"
    ),
    "road": "street, highway, motorway, lane, avenue, asphalt, roadway, carriageway, junction, intersection",
    "rock": "boulder, stone, outcrop",
    "runway, road": "airstrip, tarmac",
    "sand, sea, earth": "beach, shore, seashore, coast, coastline",
    "sculpture": "statue, bust, monument, memorial, idol, figurine",
    "sea, water": "wave",
    "sidewalk": "pavement, kerb, curb, kerbstone, curbstone, footway, cobblestone, paving, square, plaza",
    "signboard, trade name, poster, bulletin board": (
        "sign, road sign, street sign, shop sign, traffic sign, warning sign, stop sign, signpost, "
        "lettering, sign board, nameplate, plaque, placard, neon sign, direction sign, speed sign, "
        "speed limit sign, letter, character, writing, script, inscription, text"
    ),
    "sky": "cloud, sun, sunset, sunlight",
    "stairs, stairway, step, escalator": "staircase, steps",
    "swimming pool": "pool",
    "tent, canopy": "gazebo, marquee, yurt",
    "tower, building, skyscraper": (
        "minaret, lighthouse, belfry, bell tower, clock tower, windmill, chimney stack, lattice tower, "
        "watchtower, campanile, church tower, needle"
    ),
    "traffic light": "stoplight, traffic signal",
    "tree": (
        "forest, wood, pine, conifer, fir, spruce, birch, eucalyptus, eucalypt, baobab, cypress, oak, "
        "jungle, broadleaf tree, plane tree, olive tree, acacia, rainforest, orchard, conifer tree, "
        "woodland"
    ),
    "truck, van": "lorry, delivery van, fire engine, semi trailer",
    "wall, building": "brickwork, brick wall, stone wall, city wall, plaster",
    "waterfall": "cascade",
}
_ALONE = (
    "wall, floor, ceiling, bed, windowpane, cabinet, curtain, chair, water, painting, sofa, shelf, "
    "mirror, rug, armchair, seat, desk, wardrobe, lamp, bathtub, cushion, base, box, chest of drawers, "
    "counter, sink, fireplace, refrigerator, case, pool table, pillow, screen door, bookcase, blind, "
    "coffee table, toilet, book, countertop, stove, kitchen island, computer, swivel chair, bar, "
    "arcade machine, towel, television receiver, ottoman, bottle, buffet, stage, conveyer belt, "
    "washer, plaything, stool, barrel, basket, bag, cradle, oven, ball, tank, microwave, pot, "
    "dishwasher, screen, blanket, hood, sconce, vase, tray, fan, crt screen, plate, monitor, shower, "
    "radiator, glass, table"
)
"""Classes that are named by their own name alone."""
BEYOND = frozenset({
    "licence plate", "license plate", "number plate", "registration plate", "plate", "centre line",
    "center line", "road marking", "lane marking", "line", "edge line", "zebra crossing", "crosswalk",
    "pedestrian crossing", "tram", "streetcar", "train", "railway", "rail", "locomotive", "trolleybus",
    "cable car", "ferris wheel", "tile", "roof tile", "mosaic", "arch", "torii", "torii gate", "post box",
    "postbox", "mailbox", "hydrant", "fire hydrant", "manhole cover", "bus stop", "satellite dish",
    "solar panel", "air conditioner", "water tank", "snow", "ice", "glacier", "fog", "rainbow", "wind turbine",
    "cross", "graffiti", "mural", "logo",
})  # fmt: skip
"""Visible things without a class. A "plate" on a car is no dinner plate, which is the class of that name."""


def _plural(noun: str) -> str:
    """As English writes most; the reader cuts a plain "s" by itself."""
    if noun.endswith(("s", "sh", "ch", "x")):
        return noun + "es"
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _build() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for classes, nouns in _NOUNS.items():
        for noun in _split(nouns):
            found[noun] = _split(classes)
        for name in _split(classes):
            found.setdefault(name, (name,))
    for name in _split(_ALONE):
        found.setdefault(name, (name,))
    found |= {
        "tower": ("tower", "building", "skyscraper"),
        "house": ("house", "building", "hovel"),
        "building": ("building", "house", "skyscraper", "hovel"),
        "mountain": ("mountain", "hill"),
        "hill": ("hill", "mountain"),
        "car": ("car", "van"),
        "water": ("water", "sea", "river", "lake"),
        "sea": ("sea", "water"),
        "river": ("river", "water"),
        "lake": ("lake", "water"),
        "path": ("path", "sidewalk", "dirt track"),
        "plant": ("plant", "flower", "tree", "palm"),
    }
    found |= dict.fromkeys(BEYOND, ())
    return found


ADE20K = tuple(sorted({name for classes in _NOUNS for name in _split(classes)} | set(_split(_ALONE))))
"""All the classes that a noun here may be filed under."""
CLASSES: Mapping[str, tuple[str, ...]] = _build()
"""By noun, the classes that show it; none: no class does."""
_AMBIGUOUS = frozenset({
    "case", "base", "bar", "stage", "step", "steps", "counter", "hood", "screen", "light", "letter",
    "character", "text", "line", "script", "writing", "wood", "home", "post", "track", "cross", "needle",
    "opera", "plane", "jet", "slope", "wave", "crop", "bin", "dish", "land", "seat", "monitor", "ball", "fan",
    "tank", "box", "tray", "book", "cycle", "coach", "bust", "blind", "glass", "water", "bread", "pool",
    "range", "peak", "ice", "cascade", "architecture", "bay", "rail", "lane", "barrier", "tile", "bloom",
    "bank", "pot", "dock", "stone",
})  # fmt: skip
"""Words that mean something else as often ("in that case", "a line of cars"): read only as part of longer ones."""
_IRREGULAR = {"men": "man", "women": "woman", "children": "child", "leave": "foliage", "leaf": "foliage"}
NOUN_OF: Mapping[str, str] = {
    **{phrase_key(_plural(noun)): noun for noun in CLASSES if noun not in _AMBIGUOUS},
    **{phrase_key(noun): noun for noun in CLASSES if noun not in _AMBIGUOUS},
    **_IRREGULAR,
}
"""The noun by the key of its singular and its plural."""
