"""Questions: what the rewards read, from known places and from scenes of the Atlas; faults before all else."""

import pickle

import pytest
from PIL import Image

from atlas.language import true_text
from atlas.questions import AtlasQuestions, read_cues
from atlas.scenes import scene
from atlas.world import load_world
from trainer.grpo.questions import Question, check, from_truths
from trainer.grpo.recipe import load_grpo_recipe
from trainer.judge.records import Truth
from worker.errors import SetupError
from worker.reason.prompt import build_prompt

PICTURE = Image.new("RGB", (8, 8))
PROMPT = build_prompt()


def question(id_: str, **columns) -> Question:
    return Question(id_, PICTURE, PROMPT, columns)


@pytest.fixture(scope="module")
def world():
    return load_world()


def test_the_digest_changes_with_what_is_asked_and_known():
    rows = [question("a", lat=1.0), question("b", lat=2.0)]
    known = check(rows, ["id", "lat"])
    assert check([question("a", lat=1.0), question("b", lat=2.0)], ["lat"]) == known
    others = [rows[::-1], [question("a", lat=1.0), question("b", lat=3.0)], rows[:1]]
    assert len({known, *(check(other, []) for other in others)}) == 4


def test_all_faults_come_at_once():
    rows = [question("a", prompt="x"), question("a", lat=1.0)]
    with pytest.raises(SetupError) as refused:
        check(rows, ["id", "lat", "lon", "picture", "p_placeable"])
    said = str(refused.value)
    for fault in ("no question has the column lon", "column p_placeable", "column prompt is the trainer's own",
                  "the id a comes more than once"):  # fmt: skip
        assert fault in said
    assert "column lat" not in said
    assert "column picture," not in said


def test_a_column_that_only_some_questions_have_will_do():
    check([question("a", lat=1.0), question("b")], ["lat"])


def test_known_places_become_questions(tmp_path):
    path = tmp_path / "a.png"
    PICTURE.save(path)
    truth = Truth("a", 48.1, -1.7, "FR", "France", "Brittany", "Rennes", 2983990, placeable="city",
                  bayes_country=0.9, true_cues=frozenset({"b", "a"}), image=path)  # fmt: skip
    (row,) = from_truths([truth], PROMPT)
    assert (row.id, row.prompt, row.open().size) == ("a", PROMPT, (8, 8))
    assert (row.columns["lat"], row.columns["city"], row.columns["geoname_id"]) == (48.1, "Rennes", 2983990)
    assert row.columns["p_placeable"] == 0.9
    assert row.columns["true_cues"] == ["a", "b"]
    with pytest.raises(SetupError, match="row 3: has no picture"):
        from_truths([Truth("b", 0, 0, where="truth.csv, row 3")], PROMPT)


def test_scenes_have_all_that_every_reward_needs(world):
    rows = AtlasQuestions(world, "train", 50, start=1000)
    needed = {column for reward in load_grpo_recipe("atlas_cpu").reward_set(read_cues).rewards
              for column in reward.columns}  # fmt: skip
    check(rows, [*needed, "country", "city", "entities"])
    assert [row.id for row in rows] == [f"train-{number:06d}" for number in range(1000, 1050)]
    assert pickle.loads(pickle.dumps(rows[3].columns)) == rows[3].columns
    assert rows[3].open().mode == "RGB"


def test_truthful_texts_earn_every_reward_of_the_atlas(world):
    """The reader, the columns and the language agree: who tells the truth is paid in full, who invents is not."""
    rows = AtlasQuestions(world, "train", 40, placeable=True)
    rewards = load_grpo_recipe("atlas_cpu").reward_set(pickle.loads(pickle.dumps(read_cues)))
    texts = [true_text(world, scene(world, "train", int(row.id[6:]))) for row in rows]
    names = rows[0].columns.keys()
    columns = {name: [row.columns[name] for row in rows] for name in names} | {
        "id": [row.id for row in rows], "completion_ids": [[0] * 20] * len(rows)
    }  # fmt: skip
    parts = rewards.score(texts, **columns).parts
    assert parts["visual"] == [1.0] * len(rows)
    assert parts["format"] == [1.0] * len(rows)
    assert all(score > 0.99 for score, row in zip(parts["geo"], rows, strict=True)
               if row.columns["placeable"] == "city")  # fmt: skip
    invented = [
        text.replace("<think>", "<think>The sun is in the north. The sun is in the south. ") for text in texts
    ]
    assert max(rewards.score(invented, **columns).parts["visual"]) < 1


def test_entities_are_words_that_a_truthful_text_says(world):
    """GLOBE's own reward looks for substrings: of a truthful text it finds all."""
    rows = AtlasQuestions(world, "train", 40, placeable=True)
    for row in rows:
        text = true_text(world, scene(world, "train", int(row.id[6:]))).lower()
        assert row.columns["entities"]
        assert all(entity.lower() in text for entity in row.columns["entities"]), row.id


def test_only_placeable_scenes_where_asked(world):
    rows = AtlasQuestions(world, "train", 60, placeable=True)
    assert len(rows) == 60
    assert all(row.columns["placeable"] != "none" for row in rows)
    assert any(row.columns["placeable"] == "none" for row in AtlasQuestions(world, "train", 60))
