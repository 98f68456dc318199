"""The whole of curation on made-up archives: nothing leaks, nothing is lost, what is held out stays so."""

import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schema.reasons import LabelSource
from trainer.curate.cells import Grid
from trainer.curate.curate import curate
from trainer.curate.labels import Dropped, Embedding, Known, Side
from trainer.curate.manifest import Parameters
from trainer.curate.series import series
from worker.errors import SetupError
from worker.place.sphere import distance_km

NOON = datetime(2001, 5, 1, 12)
PARAMETERS = Parameters(min_labels=1, held_out_share=0.2, cell_km=50, cell_cap=6, country_cap=20)
ROOMY = replace(PARAMETERS, cell_cap=1000, country_cap=1000)


def known(number, **more):
    fields = {"source": LabelSource.EXIF, "lat": 48.0, "lon": 2.0, "country_code": "FR", "consented": True}
    fields["uris"] = (f"file:///archive/{number}.jpg",)
    sha256 = f"{random.Random(number).getrandbits(256):064x}"
    return Known(image_id=number, sha256=sha256, label_id=number, **fields | more)


def apart(ids):
    """Embeddings of which none is like another."""
    return {i: Embedding(1, np.random.default_rng(i).normal(size=64).astype(np.float32)) for i in ids}


def spread(count, *, first=0, **more):
    """Photographs so far apart that each is a group of its own."""
    return [
        known(i, lat=-60 + 2.0 * ((first + i) % 60), lon=-170 + 7.0 * ((first + i) // 60), **more)
        for i in range(first, first + count)
    ]


def after(rows, manifest):
    """The same rows as the next curation sees them."""
    side = {member.sha256: member.side for member in manifest.members}
    return [
        replace(row, before=Side.HELD_OUT if row.before is Side.HELD_OUT else side.get(row.sha256, row.before))
        for row in rows
    ]


# --- archives by chance ---


@st.composite
def archives(draw, least=8, most=60, first=0):
    """Rows in a few towns and far places, some in series, some without rights; and embeddings, some alike."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    count = draw(st.integers(least, most))
    rows, embeddings = [], {}
    for number in range(first, first + count):
        town = rng.randrange(max(2, count // 2))
        lat, lon = -80 + 13.7 * (town % 12), -180 + 31.3 * (town // 12) % 360
        at = (min(90.0, lat + rng.uniform(-0.6, 0.6)), (lon + rng.uniform(-0.6, 0.6) + 180) % 360 - 180)
        uris = tuple(f"file:///box{rng.randrange(4)}/{number}.jpg" for _ in range(rng.choice((1, 1, 1, 2, 0))))
        rows.append(
            known(
                number,
                lat=at[0],
                lon=at[1],
                source=rng.choice(list(LabelSource)),
                country_code=rng.choice(("FR", "FR", "IT", "NO", None)),
                accuracy_m=rng.choice((None, 10.0, 10.0, 1e6)),
                taken_at=rng.choice((None, NOON + timedelta(minutes=rng.randrange(2000)))),
                data_mining=rng.choice((None, None, None, "DMI-PROHIBITED")),
                consented=rng.random() < 0.9,
                uris=uris,
                is_new=rng.random() < 0.9,
                inside=rng.random() < 0.9,
            )
        )
        if rng.random() < 0.95:
            twin = rng.choice(sorted(embeddings)) if embeddings and rng.random() < 0.2 else None
            vector = embeddings[twin].vector_D if twin else np.random.default_rng(number).normal(size=16)
            embeddings[number] = Embedding(rng.choice((1, 1, 2)), np.asarray(vector, np.float32))
    return rows, embeddings


def curated(rows, embeddings, parameters=PARAMETERS):
    """The manifest, or None where it was refused for want of labels."""
    try:
        return curate(rows, parameters, lambda ids: {i: embeddings[i] for i in ids if i in embeddings})
    except SetupError as error:
        assert "too few labels" in str(error) or "would leak" in str(error) or "nothing may be" in str(error)
        return None


def assert_sound(rows, manifest, parameters=PARAMETERS):
    """What must hold of every manifest, whatever came before."""
    by_sha = {row.sha256: row for row in rows}
    in_scope = [row for row in rows if row.in_scope]
    train, held = ({member.sha256 for member in side} for side in (manifest.train, manifest.held_out))

    assert manifest.labels_in == len(in_scope) == len(train) + len(held) + sum(manifest.dropped.values())
    assert train | held | set(manifest.dropped_sha256) == {row.sha256 for row in in_scope}
    assert Counter(manifest.dropped_sha256.values()) == Counter(manifest.dropped)

    held_ever = held | {row.sha256 for row in rows if row.before is Side.HELD_OUT}
    trained_ever = train | {row.sha256 for row in rows if row.before is Side.TRAIN}
    newly_held = {sha256 for sha256 in held if by_sha[sha256].before is not Side.HELD_OUT}
    assert not train & held_ever
    assert not newly_held & trained_ever

    grid = Grid(parameters.cell_km)
    ties = [[rows[i].sha256 for i in run] for run in series(rows, gap_minutes=parameters.series_minutes)]
    cells: dict[str, list[str]] = {}
    for row in rows:
        cells.setdefault(grid.cell(row.lat, row.lon), []).append(row.sha256)
    for tie in (*cells.values(), *ties):
        assert not (train & set(tie) and held_ever & set(tie))
        assert not (newly_held & set(tie) and trained_ever & set(tie))
    for sha256 in train:
        a = by_sha[sha256]
        assert all(
            distance_km(a.lat, a.lon, by_sha[b].lat, by_sha[b].lon) > parameters.buffer_km for b in held_ever
        )
    for sha256 in newly_held:
        a = by_sha[sha256]
        assert all(
            distance_km(a.lat, a.lon, by_sha[b].lat, by_sha[b].lon) > parameters.buffer_km for b in trained_ever
        )

    for member in manifest.members:
        row = by_sha[member.sha256]
        assert row.consented and row.data_mining is None and row.country_code and row.uris
    fresh = [m for m in manifest.members if by_sha[m.sha256].before is not Side.HELD_OUT]
    assert max(Counter(member.cell for member in fresh).values(), default=0) <= parameters.cell_cap


@settings(max_examples=60)
@given(archives())
def test_no_group_is_on_both_sides_and_all_adds_up(archive):
    rows, embeddings = archive
    manifest = curated(rows, embeddings)
    assume(manifest is not None)
    assert_sound(rows, manifest)


@settings(max_examples=40)
@given(archives(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(archive, rng):
    rows, embeddings = archive
    manifest = curated(rows, embeddings)
    assume(manifest is not None)
    shuffled = rng.sample(rows, len(rows))
    again = curated(shuffled, embeddings)
    assert (again.hash, again.members) == (manifest.hash, manifest.members)


@settings(max_examples=60)
@given(archives(least=12), archives(least=1, most=30, first=1000), archives(least=1, most=30, first=2000))
def test_what_is_held_out_stays_so_whatever_labels_come(first, second, third):
    """Three curations, each with new labels in the same towns and boxes as before, or twins of what was there."""
    rows, embeddings = first
    manifest = curated(rows, embeddings)
    assume(manifest is not None)
    held_ever = {member.sha256 for member in manifest.held_out}
    for more, their_embeddings in (second, third):
        rows = [replace(row, is_new=row.is_new and row.before is None) for row in after(rows, manifest)] + more
        embeddings = embeddings | their_embeddings
        following = curated(rows, embeddings)
        if following is None:
            continue
        manifest = following
        assert_sound(rows, manifest)
        usable = {row.sha256 for row in rows if row.sha256 in held_ever and row.inside}
        assert usable <= {member.sha256 for member in manifest.held_out}
        held_ever |= {member.sha256 for member in manifest.held_out}


# --- one at a time ---


def test_nothing_new_gives_the_same_manifest():
    rows = spread(80)
    first = curated(rows, apart(range(80)), ROOMY)
    again = curated(after(rows, first), apart(range(80)), ROOMY)
    assert again.hash == first.hash
    assert len(first.held_out) == 16


def test_another_seed_holds_out_others():
    rows = spread(80)
    chosen = [
        {m.sha256 for m in curated(rows, apart(range(80)), replace(ROOMY, seed=seed)).held_out} for seed in (0, 1)
    ]
    assert chosen[0] != chosen[1]


@pytest.mark.parametrize("side", Side)
def test_new_labels_near_old_ones_go_where_those_are(side):
    rows = spread(50)
    manifest = curated(rows, apart(range(50)), ROOMY)
    old = next(member for member in manifest.members if member.side is side)
    more = [known(100 + i, lat=old.lat, lon=old.lon) for i in range(60)]
    rows = after(rows, manifest) + more
    following = curated(rows, apart([*range(50), *range(100, 160)]), ROOMY)
    assert_sound(rows, following, ROOMY)
    fate = Counter(following.dropped_sha256.get(row.sha256) for row in more)
    if side is Side.TRAIN:
        assert fate == {None: 60}
    else:
        assert len(following.held_out) == round(0.2 * 110)
        assert fate == {None: 22 - len(manifest.held_out), Dropped.HELD_OUT_FULL: 60 - 22 + len(manifest.held_out)}


def test_what_ties_both_sides_is_dropped():
    rows = spread(40)
    manifest = curated(rows, apart(range(40)), ROOMY)
    train, held = manifest.train[0], manifest.held_out[0]
    walk = {"taken_at": NOON}
    more = [
        known(100, lat=train.lat, lon=train.lon, uris=("file:///walk/1.jpg",), **walk),
        known(101, lat=held.lat, lon=held.lon, uris=("file:///walk/2.jpg",), **walk),
    ]
    rows = after(rows, manifest) + more
    following = curated(rows, apart([*range(40), 100, 101]), ROOMY)
    assert_sound(rows, following, ROOMY)
    assert following.dropped == {Dropped.BETWEEN_SIDES: 3}  # both new ones, and the old one to learn from
    assert held.sha256 in {member.sha256 for member in following.held_out}


def test_a_twin_of_what_is_held_out_is_dropped_even_when_better_sourced():
    rows = spread(40, source=LabelSource.IMPORT)
    embeddings = apart(range(41))
    manifest = curated(rows, embeddings, ROOMY)
    held = manifest.held_out[0]
    embeddings[40] = embeddings[held.image_id]
    twin = known(40, lat=70.0, lon=25.0, source=LabelSource.MANUAL)
    following = curated([*after(rows, manifest), twin], embeddings, ROOMY)
    assert following.dropped_sha256 == {twin.sha256: Dropped.NEAR_DUPLICATE}


def test_a_better_sourced_twin_takes_the_place_of_what_was_trained_on_but_is_never_held_out():
    rows = spread(40, source=LabelSource.IMPORT)
    embeddings = apart(range(80))
    manifest = curated(rows, embeddings, ROOMY)
    old = manifest.train
    twins = []
    for number, member in enumerate(old, 40):
        embeddings[number] = embeddings[member.image_id]
        twins.append(known(number, lat=70.0, lon=-170 + 10.0 * (number - 40), source=LabelSource.MANUAL))
    following = curated([*after(rows, manifest), *twins], embeddings, replace(ROOMY, held_out_share=0.5))
    assert {m.sha256 for m in following.train} == {twin.sha256 for twin in twins}
    assert following.dropped == {Dropped.NEAR_DUPLICATE: len(old)}


def test_of_two_alike_the_better_sourced_label_survives():
    rows = spread(40)
    rows[3] = replace(rows[3], source=LabelSource.IMPORT)
    embeddings = apart(range(40))
    embeddings[3] = embeddings[9]
    manifest = curated(rows, embeddings, ROOMY)
    assert manifest.dropped_sha256 == {rows[3].sha256: Dropped.NEAR_DUPLICATE}


def test_neighbours_across_a_cells_border_do_not_face_each_other():
    rows = spread(30)
    grid = Grid(50)
    edge = -180 + 360 / grid.columns(grid.bands // 2) * 300
    pairs = [
        known(100 + 2 * i + side, lat=0.2 + 0.9 * i, lon=edge + (0.001 if side else -0.001))
        for i in range(5)
        for side in (0, 1)
    ]
    ids = [row.image_id for row in (*rows, *pairs)]
    for seed in range(10):
        parameters = replace(ROOMY, seed=seed)
        manifest = curated([*rows, *pairs], apart(ids), parameters)
        assert_sound([*rows, *pairs], manifest, parameters)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_new_gives_way_to_neighbours_that_were_trained_on(seed):
    parameters = replace(ROOMY, seed=seed)
    rows = spread(30)
    grid = Grid(50)
    edge = -180 + 360 / grid.columns(grid.bands // 2) * 300
    east, west = (
        [known(first + i, lat=0.2 + 0.9 * i, lon=edge + offset) for i in range(8)]
        for first, offset in ((100, 0.001), (200, -0.001))
    )
    ids = [row.image_id for row in (*rows, *east, *west)]
    manifest = curated([*rows, *east], apart(ids), parameters)
    rows = [*after([*rows, *east], manifest), *west]
    following = curated(rows, apart(ids), replace(parameters, held_out_share=0.5))
    assert_sound(rows, following, parameters)
    assert following.dropped.keys() == {Dropped.NEAR_OTHER_SIDE}
    kept = {member.sha256: member.side for member in following.members}
    assert all(kept[row.sha256] is row.before for row in rows if row.before is Side.HELD_OUT)


def test_twins_that_are_both_held_out_each_keep_their_like_from_training():
    """They came to be alike when a new gate looked at them again."""
    rows = spread(40)
    manifest = curated(rows, apart(range(40)), ROOMY)
    first, second = (member.image_id for member in manifest.held_out[:2])
    embeddings = {i: Embedding(1, np.append(e.vector_D, [0, 0, 0])) for i, e in apart(range(40)).items()}
    for i, degrees in ((first, 0), (second, 10), (40, 20)):
        vector_D = np.zeros(67, np.float32)
        vector_D[64:66] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        embeddings[i] = Embedding(1, vector_D)
    third = known(40, lat=70.0, lon=25.0)
    following = curated([*after(rows, manifest), third], embeddings, ROOMY)
    assert following.dropped_sha256 == {third.sha256: Dropped.NEAR_DUPLICATE}
    assert len(following.held_out) == 8


def test_a_cap_that_is_lowered_drops_nothing_of_what_is_held_out():
    rows = [known(i, lat=-60 + 4.0 * (i // 4), lon=10.0) for i in range(120)]
    manifest = curated(rows, apart(range(120)), ROOMY)
    following = curated(after(rows, manifest), apart(range(120)), replace(ROOMY, cell_cap=1, country_cap=30))
    assert len(following.held_out) == len(manifest.held_out) == 24
    assert len(following.train) == 6


def test_withdrawn_rights_take_a_held_out_photograph_out_but_never_into_training():
    rows = spread(40)
    manifest = curated(rows, apart(range(40)), ROOMY)
    held = manifest.held_out[0].sha256
    rows = [replace(row, consented=row.sha256 != held) for row in after(rows, manifest)]
    following = curated(rows, apart(range(40)), ROOMY)
    assert following.dropped_sha256 == {held: Dropped.NO_CONSENT}
    rows = [replace(row, consented=True) for row in after(rows, following)]
    assert held in {member.sha256 for member in curated(rows, apart(range(40)), ROOMY).held_out}


def test_a_frozen_held_out_set_is_enough_where_all_new_labels_are_near_what_was_trained_on():
    rows = spread(40)
    manifest = curated(rows, apart(range(40)), ROOMY)
    old = manifest.train[0]
    rows = after(rows, manifest) + [known(100 + i, lat=old.lat, lon=old.lon) for i in range(100)]
    following = curated(rows, apart([*range(40), *range(100, 200)]), ROOMY)
    assert (len(following.held_out), len(following.train)) == (8, 132)


# --- refusals ---


def test_too_few_labels_are_refused_with_counts():
    rows = [*spread(10), *spread(5, first=20, consented=False)]
    with pytest.raises(
        SetupError,
        match=r"too few labels, --min-labels is 100 \(15 in, 8 to train on, 2 held out; dropped 5 no_consent",
    ):
        curate(rows, replace(ROOMY, min_labels=100), apart)


def test_no_rights_are_refused_with_what_to_do():
    rows = [*spread(10, consented=False), *spread(5, first=20, data_mining="DMI-PROHIBITED")]
    with pytest.raises(SetupError, match=r"nothing may be trained on .*10 no_consent.*5 rights_reserved.*--grant"):
        curate(rows, ROOMY, apart)


def test_a_held_out_set_that_would_leak_is_refused_with_counts():
    rows = [known(i, lat=48.0 + 0.001 * i) for i in range(50)]
    with pytest.raises(SetupError, match=r"would leak: 50 photographs .* 1 groups .* 0 can be held out whole"):
        curate(rows, ROOMY, apart)


def test_an_empty_archive_is_refused():
    with pytest.raises(SetupError, match="too few labels"):
        curate([], ROOMY, apart)
