"""Asking a model: the real decoder, prompt, grammar and gazetteer around an engine that looks at pixels."""

import pytest
from PIL import Image

from schema.reasons import Reason
from tests.support import number_of, write_pictures
from trainer.judge.canary import ask_canary, shuffle_tiles
from trainer.judge.from_model import Asker, ask_all
from trainer.judge.records import Outcome, Truth
from worker.errors import JobError
from worker.identity import ModelIdentity
from worker.place.gazetteer import Gazetteer
from worker.reason.engines import Completion, Sampling

PLACES = [("France", "Paris"), ("Japan", "Tokyo"), ("Kenya", "Nairobi"), ("Brazil", "Recife")]


class PixelEngine:
    """Answers by what `say` makes of the picture's first pixel; None there is a failure of the model."""

    identity = ModelIdentity("lvlm", "pixels", "1", untrained=True)

    def __init__(self, say):
        self.say = say
        self.asked = 0

    def generate(self, prompt, image, sampling, n=1):
        self.asked += 1
        assert "country" in prompt.user
        text = self.say(number_of(image))
        if text is None:
            raise JobError(Reason.MODEL_ERROR, "out of memory")
        return [Completion(text, "length" if text.endswith("…") else "stop", 5, -0.5)] * n

    def close(self):
        pass


def answer(number):
    country, city = PLACES[number % len(PLACES)]
    return f"<think>A red roof stands here.</think><answer>country: {country}\ncity: {city}</answer>"


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


def asker(say, gazetteer):
    return Asker(PixelEngine(say), gazetteer, Sampling())


def truths(folder, count):
    return [
        Truth(path.name, 48.0 + number % 7, 2.0, image=path)
        for number, path in enumerate(write_pictures(folder, count))
    ]


def test_every_picture_ends_as_one_prediction(tmp_path, gazetteer):
    said = {
        3: "<answer>country: unknown</answer>",
        4: "A nice picture.",
        5: "<answer>country: Freedonia</answer>",
        6: None,
        7: "<think>The signs are in …",
    }
    asked = truths(tmp_path, 12)
    asked[8].image.write_bytes(b"no picture")
    asked[9].image.unlink()
    asked.append(Truth("gone", 1, 50))
    told = []
    found = ask_all(
        asker(lambda number: said.get(number, answer(number)), gazetteer),
        asked,
        threads=4,
        on_done=told.append,
    )
    assert [prediction.id for prediction in found] == [truth.id for truth in asked]
    assert sorted(prediction.id for prediction in told) == sorted(truth.id for truth in asked)
    outcomes = [prediction.outcome for prediction in found]
    assert outcomes[3:10] == [
        Outcome.REFUSED,
        Outcome.UNPARSABLE,
        Outcome.UNRESOLVED,
        Outcome.FAILED,
        Outcome.UNPARSABLE,
        Outcome.FAILED,
        Outcome.FAILED,
    ]
    assert outcomes[12] is Outcome.FAILED
    assert [(each.country, each.city) for each in found[:3]] == PLACES[:3]
    assert found[0].confidence == pytest.approx(0.60653, abs=1e-5)
    assert found[0].strict
    assert found[0].stated_cues == {"a red roof stands here."}
    assert "not_an_image" in found[8].detail
    assert "out of memory" in found[6].detail


def test_a_defect_is_not_taken_for_a_failed_picture(tmp_path, gazetteer):
    def broken(number):
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        ask_all(asker(broken, gazetteer), truths(tmp_path, 20), threads=2)


def test_a_model_that_sees_passes_the_canary(tmp_path, gazetteer):
    seen = ask_canary(asker(answer, gazetteer), truths(tmp_path, 40))
    # Of the pictures 0, 5, 10 … 35 two are answered as the grey one is; a tile of one colour stays what it was.
    assert (seen.pictures, seen.distinct, seen.blank_same, seen.shuffled_same) == (8, 4, 2, 8)
    assert not seen.suspicious
    assert "8 pictures" in seen.sentence()


def test_a_model_that_never_receives_the_picture_is_caught(tmp_path, gazetteer):
    blind = ask_canary(asker(lambda _: answer(0), gazetteer), truths(tmp_path, 40))
    assert blind.suspicious
    assert (blind.blank_same, blind.shuffled_same, blind.blank_answered) == (8, 8, 8)
    assert "DO NOT DEPEND ON THE PICTURE" in blind.sentence()


def test_the_canary_passes_over_failures(tmp_path, gazetteer):
    asked = truths(tmp_path, 4)
    asked[1].image.write_bytes(b"no picture")
    seen = ask_canary(asker(lambda number: None if number == 2 else answer(number), gazetteer), asked)
    assert seen.pictures == 2
    assert not seen.suspicious  # too few to tell


def test_shuffled_tiles_keep_size_and_colours():
    picture = Image.radial_gradient("L").convert("RGB").resize((64, 48))
    shuffled = shuffle_tiles(picture, seed=3)
    assert shuffled.size == picture.size
    assert sorted(shuffled.getcolors()) == sorted(picture.getcolors())
    assert shuffled.tobytes() != picture.tobytes()
    assert shuffle_tiles(Image.new("RGB", (5, 5), "red"), seed=3).getpixel((2, 2)) == (128, 128, 128)
