"""Imperfect teachers: texts about Atlas scenes with the faults of real ones, each at a stated rate.

Apart from its faults a teacher is as good as the truthful observer of `atlas.language`. Its faults: it leaves out
cues, states what is typical of the place though it is not in the picture, takes certain countries for their
neighbours and lesser cities for their country's best-known one, and guesses places more finely than the picture
can tell.

Some faults most of them share: a few kinds that they state out of habit, a few countries that they confuse alike,
and fame. As so much is written about London, whoever learnt from all that was written sees London everywhere.
Only such faults survive in whoever learns from all of them; what one teacher alone gets wrong now and then, the
others outvote.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from atlas.language import VIEW_SENTENCES, text_of
from atlas.scenes import Scene, split_prior_C
from atlas.world import City, World

LEVELS = ("none", "country", "region", "city")
"""From the coarsest answer to the finest."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher and the rates of its faults, all in 0..1.

    `invent_rate`: for each hidden kind of cue that depends on the place named (a country tells no landmark), that
    its typical value is stated. `confuse_rate`: for a placeable scene whose country is in `confuse`, that the
    neighbour is named instead, with at least one cue typical of it that is not visible. `habit_rate` takes the
    place of `invent_rate` for the kinds in `HABITS`. `overanswer_rate`: for a scene that cannot be placed down to
    a city, that a guessed city is named (unless it is confused already). `fame_rate`: for a scene that can, in a
    country of `BEST_KNOWN`, that this city is named (unless it is confused already). `miss_rate`: for each visible
    cue, that it goes unmentioned.
    """

    name: str
    invent_rate: float
    confuse: Mapping[str, str]
    confuse_rate: float
    overanswer_rate: float
    miss_rate: float
    habit_rate: float
    fame_rate: float


HABITS = frozenset({"driving_side", "script", "light"})
"""What is known of a country without looking."""
_ALIKE = {"NZ": "AU", "IE": "GB", "NO": "SE", "CA": "US", "CL": "AR", "PL": "DE", "KR": "JP", "GR": "TR"}
BEST_KNOWN = {
    "AR": "Buenos Aires", "AU": "Sydney", "BR": "Rio de Janeiro", "CN": "Beijing", "DE": "Munich", "EG": "Cairo",
    "ES": "Madrid", "FR": "Paris", "GB": "London", "IL": "Tel Aviv", "IN": "Mumbai", "JP": "Tokyo",
    "KE": "Nairobi", "MX": "Mexico City", "RU": "Moscow", "SE": "Stockholm", "TH": "Bangkok", "TR": "Istanbul",
    "US": "New York City", "ZA": "Cape Town",
}  # fmt: skip
"""Of the countries that most teachers recognise."""
TEACHERS = (
    Teacher("careful", 0.04, {"NZ": "AU", "IE": "GB"}, 0.15, 0.10, 0.10, 0.08, 0.10),
    Teacher("talkative", 0.12, _ALIKE, 0.80, 0.35, 0.05, 0.85, 0.80),
    Teacher("careless", 0.20, _ALIKE | {"EG": "IL", "BR": "AR"}, 0.90, 0.60, 0.25, 0.92, 0.90),
)


def teacher_text(world: World, scene: Scene, teacher: Teacher) -> str:
    """What the teacher writes about a scene, in the form of `worker.reason.answer`; the same each time."""
    rng = Random(f"{world.version} {scene.id} {teacher.name}")
    named, level = _place(world, scene, teacher, rng)
    seen = [cue for cue in scene.visible if rng.random() >= teacher.miss_rate]
    cues = [(cue.kind, cue.value) for cue in seen] + _invented(world, scene, teacher, named, level, rng)
    return text_of(world, cues, VIEW_SENTENCES.get(scene.view), named, level, rng)


def _place(world: World, scene: Scene, teacher: Teacher, rng: Random) -> tuple[City, str]:
    """The city that the teacher has in mind, and the level down to which it names it."""
    confuses, overanswers = rng.random() < teacher.confuse_rate, rng.random() < teacher.overanswer_rate
    follows_fame = rng.random() < teacher.fame_rate
    neighbour = teacher.confuse.get(scene.city.country_code)
    if confuses and neighbour is not None and scene.placeable != "none":
        return _likeliest_in(world, scene, neighbour, rng), scene.placeable
    if overanswers and scene.placeable != "city":
        return _guess(world, scene, rng), "city"
    if follows_fame and scene.placeable == "city":
        return _best_known(world, scene.city), "city"
    return scene.city, scene.placeable


def _best_known(world: World, city: City) -> City:
    """The best-known city of this one's country, or itself where the teachers know none."""
    name = BEST_KNOWN.get(city.country_code, city.name)
    return next(each for each in world.cities if (each.country_code, each.name) == (city.country_code, name))


def _likeliest_in(world: World, scene: Scene, country_code: str, rng: Random) -> City:
    """Of the country's trained cities the one that fits what is visible best; chance decides between equals."""
    posterior_C = world.posterior_C({cue.kind: cue.value for cue in scene.visible})
    rows = [row for row, city in enumerate(world.cities) if city.country_code == country_code]
    rng.shuffle(rows)
    return world.cities[max(rows, key=lambda row: float(posterior_C[row]))]


def _guess(world: World, scene: Scene, rng: Random) -> City:
    """A city drawn from the posterior, inside the true country where that can be told."""
    visible = {cue.kind: cue.value for cue in scene.visible}
    posterior = world.posterior_C(visible, split_prior_C(world, scene.split)).tolist()
    if scene.placeable != "none":
        code = scene.city.country_code
        posterior = [p * (city.country_code == code) for p, city in zip(posterior, world.cities, strict=True)]
    return rng.choices(world.cities, posterior)[0]


def _invented(
    world: World, scene: Scene, teacher: Teacher, named: City, level: str, rng: Random
) -> list[tuple[str, str]]:
    """Hidden cues that the teacher claims to see in a place named down to `level`."""
    visible = {cue.kind for cue in scene.visible}
    reach = LEVELS.index(level)
    hidden = [kind.name for kind in world.kinds if kind.name not in visible and LEVELS.index(kind.level) <= reach]
    typical = world.typical(named)
    rates = {kind: teacher.habit_rate if kind in HABITS else teacher.invent_rate for kind in hidden}
    chosen = [kind for kind, rate in rates.items() if rng.random() < rate]
    confused = level == scene.placeable and named.country_code != scene.city.country_code
    if confused and hidden and not chosen:
        usual = world.typical(scene.city)
        chosen = [rng.choice([kind for kind in hidden if typical[kind] != usual[kind]] or hidden)]
    return [(kind, typical[kind]) for kind in chosen]
