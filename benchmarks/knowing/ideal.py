"""Answers of the best possible observer of the Atlas, for the study of the radius: no model, and no pictures.

The world knows the exact chance of each city given what a scene shows. The observer names the likeliest one, and
draws more answers by these chances. So thousands of answers cost seconds, and what the radius keeps and saves on
them is what the method can do where the signs of difficulty are honest. It says nothing of any model's signs.
"""

import numpy as np

from atlas.scenes import scene
from atlas.world import World
from benchmarks.knowing.radius import Answered
from schema.reasons import Granularity
from trainer.judge.places import continent_of
from worker.place.difficulty import Difficulty
from worker.place.sphere import distances_km

_NEAR_KM = 25.0
_CAMERA_KM = 3.0
"""The camera stands up to so far from its city's point."""
_DIM, _BLUR = 0.3, 0.25


def ideal_answers(
    world: World, split: str, count: int, *, start: int = 0, samples: int = 4, seed: int = 0
) -> Answered:
    """The answers to the placeable ones of `count` scenes.

    Signs are agreement and spread of the draws, and a log-probability that is dimmed and blurred: a language
    model's is about the words of its answer, and tells far less than the chance of the city would.
    """
    rng = np.random.default_rng([seed, start])
    lat_C = np.array([city.lat for city in world.cities])
    lon_C = np.array([city.lon for city in world.cities])
    between_C_C = distances_km(lat_C[:, None], lon_C[:, None], lat_C[None, :], lon_C[None, :])
    row_of = {city.geoname_id: row for row, city in enumerate(world.cities)}
    shown = [scene(world, split, index) for index in range(start, start + count)]
    placeable = [each for each in shown if each.placeable != "none"]
    difficulties, errors = [], []
    for each in placeable:
        chance_C = world.posterior_C({cue.kind: cue.value for cue in each.visible})
        first = int(np.argmax(chance_C))
        km = between_C_C[first, [first, *rng.choice(chance_C.size, samples, p=chance_C)]]
        errors.append(between_C_C[first, row_of[each.city.geoname_id]] + rng.uniform(0.0, _CAMERA_KM))
        difficulties.append(
            Difficulty(
                gate_score=None,
                agreement=float((km <= _NEAR_KM).mean()),
                spread_km=float(km.mean()),
                samples=1 + samples,
                mean_logprob=float(_DIM * np.log(chance_C[first]) + rng.normal(0.0, _BLUR)),
                place_logprob=None,
                nearest_cosine=None,
                candidate_agreement=None,
                stated=Granularity.CITY,
            )
        )
    _, cluster_N = np.unique([each.photographer for each in placeable], return_inverse=True)
    return Answered(
        difficulties=tuple(difficulties),
        error_km_N=np.array(errors),
        cluster_N=cluster_N.astype(np.int64),
        continents=tuple(continent_of(each.city.country_code) for each in placeable),
        asked=count,
    )
