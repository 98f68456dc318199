"""What the small models learn from, and how they are examined: by engines whose answers are known beforehand."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL.Image import Image

from atlas.exam import Paper, examine, mark, set_paper
from atlas.language import stated_cues, true_text
from atlas.lessons import Lessons, Words, clue_words, place_words, teachers_words, truthful_words
from atlas.scenes import scene
from atlas.world import World, load_world
from benchmarks.null_models import NullEngine
from trainer.judge.metrics import evaluate
from worker.intake.picture import decode
from worker.reason.answer import Answer, parse
from worker.reason.prompt import build_prompt

SCENES = 40


@pytest.fixture(scope="module")
def world() -> World:
    return load_world()


@pytest.fixture(scope="module")
def paper(world: World, tmp_path_factory: pytest.TempPathFactory) -> Paper:
    return set_paper(tmp_path_factory.mktemp("paper"), world, "test", SCENES)


def engine_that_says(world: World, paper: Paper, words: Words) -> NullEngine:
    """Recognises each picture of the paper by its pixels, and says what `words` says of its scene."""
    said = {}
    for truth in paper.truths:
        assert truth.image is not None
        shown = scene(world, paper.split, int(truth.id.rpartition("-")[2]))
        said[_digest(decode(truth.image.read_bytes()).image)] = words(world, shown)
    return NullEngine(lambda image: said[_digest(image)])


def _digest(image: Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


@pytest.mark.parametrize("words", [truthful_words, teachers_words, clue_words, place_words])
def test_every_lesson_is_an_answer_that_the_worker_reads(world: World, words: Words):
    for example in Lessons(world, "train", 200, words, placeable=True):
        answer = parse(example.completion)
        assert isinstance(answer, Answer), example.completion
        assert not answer.notes
        assert example.prompt == build_prompt()


def test_lessons_are_a_sequence_that_is_drawn_when_it_is_looked_at(world: World):
    lessons = Lessons(world, "train", 10, truthful_words, start=5)
    assert len(lessons) == 10
    assert [lesson.id for lesson in lessons] == [f"train-{index:06d}" for index in range(5, 15)]
    assert [lesson.id for lesson in lessons[2:4]] == ["train-000007", "train-000008"]
    assert lessons[3].open().tobytes() == lessons[3].open().tobytes()
    with pytest.raises(IndexError):
        lessons[10]


def test_placeable_lessons_pass_the_others_over(world: World):
    lessons = Lessons(world, "train", 60, truthful_words, placeable=True)
    assert len({lesson.id for lesson in lessons}) == 60
    assert all(scene(world, "train", int(lesson.id[6:])).placeable != "none" for lesson in lessons)


def test_clues_name_the_country_alone_and_places_give_no_reasons(world: World):
    shown = scene(world, "train", next(i for i in range(50) if scene(world, "train", i).placeable == "city"))
    clue, place = parse(clue_words(world, shown)), parse(place_words(world, shown))
    assert isinstance(clue, Answer)
    assert isinstance(place, Answer)
    assert (clue.country, clue.region, clue.city) == (shown.city.country, None, None)
    assert clue.reasoning
    assert (place.country, place.city, place.reasoning) == (shown.city.country, shown.city.name, "")


def test_a_truthful_observer_gets_full_marks(world: World, paper: Paper):
    reached = mark(paper, examine(engine_that_says(world, paper, truthful_words), paper))
    assert (reached.n, reached.country, reached.city25_of_cities) == (SCENES, 1.0, 1.0)
    assert (reached.refused_rightly, reached.unparsable) == (1.0, 0)
    assert (reached.cue_precision, reached.cue_recall, reached.invented_per_answer) == (1.0, 1.0, 0.0)
    assert 0.5 < reached.bayes_city25 < reached.bayes_country < 1.0


def test_inventions_guesses_and_silence_cost_what_they_are(world: World, paper: Paper):
    """Counted here a second time, by hand, for an observer who names one cue and one city whatever it sees."""
    paris = "<think>The sign is in Latin script.</think><answer>country: France\ncity: Paris</answer>"
    always: Callable[..., str] = lambda *_: paris  # noqa: E731
    columns = examine(engine_that_says(world, paper, always), paper)
    reached = mark(paper, columns)
    scenes = [scene(world, "test", index) for index in range(SCENES)]
    latin = sum(any((cue.kind, cue.value) == ("script", "latin") for cue in shown.visible) for shown in scenes)
    cues = sum(len(shown.visible) for shown in scenes)
    placeable = [shown for shown in scenes if shown.placeable != "none"]
    assert stated_cues(paris) == {("script", "latin")}
    assert reached.cue_precision == pytest.approx(latin / SCENES)
    assert reached.cue_recall == pytest.approx(latin / cues)
    assert reached.invented_per_answer == pytest.approx(1 - latin / SCENES)
    assert reached.refused_rightly == 0.0
    in_france = sum(shown.city.country_code == "FR" for shown in placeable)
    assert reached.country == pytest.approx(in_france / len(placeable))
    assert evaluate(columns, replicates=0).n == SCENES


def test_what_cannot_be_read_is_counted(world: World, paper: Paper):
    mumbling: Callable[..., str] = lambda *_: "somewhere nice"  # noqa: E731
    assert mark(paper, examine(engine_that_says(world, paper, mumbling), paper)).unparsable == SCENES


def test_a_paper_is_the_same_each_time(world: World, tmp_path: Path):
    first = set_paper(tmp_path / "a", world, "shift", 3)
    second = set_paper(tmp_path / "b", world, "shift", 3)
    pictures = [[t.image.read_bytes() for t in p.truths if t.image] for p in (first, second)]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 3
    assert true_text(world, scene(world, "shift", 0))
