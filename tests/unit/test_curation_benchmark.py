"""Curation's benchmark: what counts as right, and what the steps come to, on scenes with their truth."""

import json
from dataclasses import replace

import pytest

from atlas.language import cue_phrase, true_text
from atlas.scenes import scene
from atlas.teachers import TEACHERS, teacher_text
from atlas.visible import CUES, AtlasVisible, Seen, load_cuts
from atlas.world import load_world
from benchmarks.curation.cases import cases_of, halves, scenes_of
from benchmarks.curation.choosing import AIM, choose_thresholds
from benchmarks.curation.judging import samples_of, tally, truth_of
from benchmarks.curation.plot import svg
from benchmarks.curation.store import ASKED, Row, keep_asked, read, read_asked, write
from benchmarks.curation.study import RAW, study
from trainer.curate.opinions import Step
from trainer.curate.thresholds import Thresholds
from trainer.curate.verify import remembering
from worker.errors import SetupError
from worker.reason.answer import parse

WORLD = load_world()
SCENES = [scene(WORLD, "test", index) for index in range(64)]


def seen(shown):
    visible = {(cue.kind, cue.value) for cue in shown.visible}
    return {cue: 0.95 if cue in visible else 0.05 for cue in CUES}


def rows():
    return [
        Row(
            shown.id,
            {teacher.name: teacher_text(WORLD, shown, teacher) for teacher in TEACHERS}
            | {"truthful": true_text(WORLD, shown)},
            {"archive": (shown.city.lat, shown.city.lon, 0.8)},
            seen(shown),
            seen(shown),
        )
        for shown in SCENES
    ]


@pytest.fixture(scope="module")
def made():
    stored = rows()
    scenes = scenes_of(WORLD, stored)
    cases = cases_of(stored, scenes)
    by_id = {row.id: Seen(row.seen) for row in stored}
    visible = AtlasVisible(lambda asked: [by_id[case.subject.id] for case in asked], load_cuts())
    return cases, samples_of(cases, scenes), remembering(None, visible)


def placeable(level):
    return next(shown for shown in SCENES if shown.placeable == level and len(shown.visible) > 1)


def test_the_truth_is_right_where_it_names_a_place():
    for shown in SCENES:
        sample = truth_of(shown, "one", parse(true_text(WORLD, shown)))
        assert sample.right == (shown.placeable != "none")


@pytest.mark.parametrize("level", ["city", "region", "country"])
def test_a_wrong_name_at_any_level_is_wrong(level):
    shown = placeable("city")
    answer = parse(true_text(WORLD, shown))
    assert truth_of(shown, "one", answer).right
    assert not truth_of(shown, "one", replace(answer, **{level: "Elsewhere"})).right


def test_a_coarser_answer_is_right_as_far_as_it_goes():
    shown = placeable("city")
    answer = parse(true_text(WORLD, shown))
    assert truth_of(shown, "one", replace(answer, city=None)).right


def test_a_place_finer_than_can_be_told_is_counted_though_it_may_be_right():
    shown = placeable("country")
    answer = parse(true_text(WORLD, shown))
    assert not truth_of(shown, "one", answer).too_fine
    finer = truth_of(shown, "one", replace(answer, region=shown.city.region, city=shown.city.name))
    assert (finer.right, finer.too_fine) == (True, True)


def test_one_cue_that_is_not_there_or_no_cue_at_all_makes_a_sample_wrong():
    shown = placeable("city")
    answer = parse(true_text(WORLD, shown))
    visible = {cue.kind for cue in shown.visible}
    stranger = next(cue for cue in CUES if cue[0] not in visible)

    assert not truth_of(
        shown, "one", replace(answer, reasoning=f"{answer.reasoning} {cue_phrase(*stranger, 0)}")
    ).right
    assert not truth_of(shown, "one", replace(answer, reasoning="It feels like it.")).right


def test_rows_come_back_as_they_were_with_the_cues_that_are_stated(tmp_path):
    file = tmp_path / "rows.jsonl"
    stored = rows()[:5]
    write(file, stored)
    found = read(file)
    assert [row.said for row in found] == [row.said for row in stored]
    for row, before in zip(found, stored, strict=True):
        assert row.points == before.points
        assert all(before.seen[cue] == score for cue, score in row.seen.items())
    assert len(read(file, 3)) == 3
    assert json.loads(file.read_text().splitlines()[0])["id"] == "test-000000"


def test_what_came_of_asking_lies_beside_the_rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    assert set(read_asked(file).values()) == {None}
    keep_asked(file, dict(zip(ASKED, (5000.0, 1278.0, 0.0, 16.0, 862.0), strict=True)))
    assert list(read_asked(file).values()) == [5000, 1278, 0, 16, 862]


def test_rows_of_another_world_are_refused():
    with pytest.raises(SetupError, match="remove them"):
        scenes_of(WORLD, [replace(rows()[0], id="test-000007")])


def test_halves_share_no_city_and_lose_nothing(made):
    cases, _, _ = made
    first, second = halves(cases)
    cities = [{case.subject.geoname_id for case in half} for half in (first, second)]
    assert not cities[0] & cities[1]
    assert len(first) + len(second) == len(cases)


def test_with_a_perfect_eye_what_is_kept_is_right_and_no_step_adds_to_a_set(made):
    cases, samples, memory = made
    found = study(cases, samples, Thresholds(min_support=0.0, min_agreeing_share=0.0), memory)
    assert found.after[RAW].precision < 0.6
    assert list(found.after.values())[-1].precision == 1.0
    counts = [one.n for one in found.after.values()]
    assert counts == sorted(counts, reverse=True)
    assert list(found.after) == [RAW, *map(str, Step)]
    for step in Step:
        assert found.without[step].n >= counts[-1]
    assert found.best.n <= found.photographs
    assert svg(found).count("<rect") > 20


def test_chosen_thresholds_reach_the_aim_where_it_can_be_reached(made):
    cases, samples, memory = made
    first, _ = halves(cases)
    chosen = choose_thresholds(first, samples, memory)
    assert chosen.tally.precision >= AIM
    ids = {case.subject.id for case in first}
    right = sum(sample.right for key, sample in samples.items() if key[0] in ids)
    shipped = study(first, samples, Thresholds(), memory).after["visible"]
    assert chosen.tally.recall >= shipped.recall
    assert chosen.tally.right <= right


def test_a_tally_of_nothing_has_no_precision():
    nothing = tally([], 5)
    assert (nothing.precision, nothing.cue_precision, nothing.recall) == (None, None, 0.0)
