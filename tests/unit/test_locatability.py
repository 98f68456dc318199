"""GeoReasoner's score: a hand calculation, where weights come from, and rows for what cannot be scored."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from schema.reasons import Reason
from trainer.curate.locatability import (
    DEFAULT_THRESHOLD,
    Weights,
    derive,
    min_max,
    read_weights,
    reduce_similarity,
    score,
    sentences_of,
    write_weights,
)
from trainer.curate.originals import CHANGED, OriginalChanged
from trainer.curate.scoring import COLUMNS, Failed, Item, of_targets, score_all, write_rows
from worker.errors import JobError, SetupError
from worker.intake.fetch import Fetcher
from worker.intake.limits import Limits

STREET = Weights({"road": 1.0, "building": 0.228, "sky": 0.168, "tree": 0.196, "car": 0.265, "person": 0.011}, {})


def test_the_score_is_what_a_hand_calculation_gives():
    areas = {"road": 0.3, "building": 0.25, "sky": 0.2, "tree": 0.1, "car": 0.1, "curtain": 0.05}
    # 0.3 x 1 + 0.25 x 0.228 + 0.2 x 0.168 + 0.1 x 0.196 + 0.1 x 0.265 + 0.05 x 0 = 0.4367
    found = score(areas, STREET)
    assert found.value == pytest.approx(0.4367)
    assert pytest.approx(0.4) == DEFAULT_THRESHOLD
    assert found.value >= DEFAULT_THRESHOLD
    assert [name for name, _, _ in found.top] == ["road", "building", "sky"]
    assert found.top[1] == ("building", 0.25, pytest.approx(0.057))


def test_without_a_heavy_class_the_threshold_is_out_of_reach():
    assert STREET.able(DEFAULT_THRESHOLD) == ["road"]
    assert score({"building": 1.0}, STREET).value == pytest.approx(0.228)
    assert STREET.largest_score == 1.0
    # By the fitted line of the facts (0.185 + 0.858 x road), 0.4 is a quarter of the picture.
    assert pytest.approx(0.25, abs=0.005) == (0.4 - 0.185) / 0.858


shares = st.lists(st.floats(0.001, 1), min_size=6, max_size=6).map(
    lambda given: dict(zip(STREET.by_class, [one / sum(given) for one in given], strict=True))
)


@given(shares)
def test_a_score_is_a_weighted_mean(areas):
    value = score(areas, STREET).value
    assert 0.011 - 1e-9 <= value <= STREET.largest_score + 1e-9
    assert score(dict(reversed(areas.items())), STREET).value == pytest.approx(value)


# ------------------------------------------------------------ where weights come from


def test_the_reduction_rule_by_hand():
    similarity_M_K = np.array([[0.9, 0.3, 0.3], [0.5, 0.5, 0.2], [0.8, 0.4, 0.3]])
    # Row means 0.5, 0.4, 0.5; above them 0.4 0 0, 0.1 0.1 0, 0.3 0 0; means 0.8/3, 0.1/3, 0; scaled by 0.8/3.
    assert reduce_similarity(similarity_M_K) == pytest.approx([1.0, 0.125, 0.0])
    # A sentence that is near to everything changes no order.
    assert reduce_similarity(np.vstack([similarity_M_K, [0.99] * 3])) == pytest.approx([1.0, 0.125, 0.0])


@pytest.mark.parametrize("values", [[0.5, 0.5], [float("nan"), 1.0]])
def test_weights_that_tell_nothing_apart_are_refused(values):
    with pytest.raises(SetupError, match="same weight"):
        min_max(np.array(values))


def by_letters(texts):
    """A vector for each text: its letters, normalised."""
    counts = np.array([[text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts])
    return (counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)).astype(np.float32)


CLUES = """image,country,clue
a.jpg,Chile,The road is very broad. Roads are broad.
b.jpg,Peru,The road is very broad.
c.jpg,,No country here.
d.jpg,Japan,
"""


def test_weights_are_derived_from_any_clue_file_without_its_pictures(tmp_path):
    (tmp_path / "clues.csv").write_text(CLUES)
    sentences, unusable = sentences_of(tmp_path / "clues.csv")
    assert sentences == ["Roads are broad.", "The road is very broad."]
    assert unusable == 2
    weights = derive(sentences, ["road", "sky", "Windowpane;window"], by_letters, {"encoder": "letters"})
    assert weights.by_class.keys() == {"road", "sky", "windowpane"}
    assert weights.by_class["road"] == 1.0
    assert min(weights.by_class.values()) == 0.0
    assert weights.made == {"recipe": "centred-mean/1", "sentences": 2, "encoder": "letters"}
    again = derive(list(reversed(sentences)), ["windowpane", "sky", "road"], by_letters, {"encoder": "letters"})
    assert again.by_class == pytest.approx(weights.by_class)


def test_georeasoners_own_form_is_read_too(tmp_path):
    answer = "{'country': 'Chile', 'reasons': ['Red poles line the road.', 'Dry hills.']}"
    asked = {"from": "user", "value": "Picture 1: <img>x.jpg</img> Where?"}
    row = {"id": "1", "conversations": [asked, {"from": "assistant", "value": answer}]}
    (tmp_path / "clues.json").write_text(json.dumps([row]))
    assert sentences_of(tmp_path / "clues.json") == (["Dry hills.", "Red poles line the road."], 0)
    (tmp_path / "none.json").write_text("[]")
    with pytest.raises(SetupError, match="no row has a clue"):
        sentences_of(tmp_path / "none.json")


def test_weights_are_read_back_and_from_other_peoples_files(tmp_path):
    write_weights(tmp_path / "w.json", STREET)
    assert read_weights(tmp_path / "w.json").by_class == STREET.by_class
    (tmp_path / "w.csv").write_text("Weight,class\n1.0,Road\n0.2,windowpane;window\n")
    assert read_weights(tmp_path / "w.csv").by_class == {"road": 1.0, "windowpane": 0.2}
    (tmp_path / "plain.json").write_text('{"road": 1, "sky": 0.168}')
    found = read_weights(tmp_path / "plain.json")
    assert found.by_class == {"road": 1.0, "sky": 0.168}
    assert found.made["file"] == "plain.json"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("w.json", "{"),
        ("w.json", "[1]"),
        ("w.json", "{}"),
        ("w.json", '{"road": "much"}'),
        ("w.json", '{"road": true}'),
        ("w.json", '{"road": NaN}'),
        ("w.json", '{"road": 1.5}'),
        ("w.json", '{"road": 1, "Road": 0.5}'),
        ("w.csv", "name,value\nroad,1\n"),
        ("w.csv", "class,weight\nroad\n"),
        ("w.csv", "class,weight\nroad,1\nroad,1\n"),
    ],
)
def test_files_that_are_no_weights_are_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(SetupError, match=name):
        read_weights(tmp_path / name)


# ------------------------------------------------------------ many photographs


class ByColour:
    """Black pixels are road, all others sky; a picture of 13 pixels' width is too much for it."""

    labels = ("road", "sky")

    def shares(self, pictures):
        if any(picture.width == 13 for picture in pictures):
            raise RuntimeError("out of memory")
        return [self._of(np.asarray(picture)) for picture in pictures]

    def _of(self, pixels):
        road = float((pixels.sum(axis=-1) == 0).mean())
        return {name: share for name, share in (("road", road), ("sky", 1 - road)) if share}


def half(width_px=8):
    picture = Image.new("RGB", (width_px, 8), "white")
    picture.paste("black", (0, 0, width_px, 4))
    return picture


def raises(error):
    def open_picture():
        raise error

    return open_picture


def test_what_cannot_be_scored_is_a_row_with_its_reason():
    items = [
        Item("half", half),
        Item("gone", raises(JobError(Reason.NOT_FOUND, "it is gone"))),
        Item("huge", lambda: half(13)),
        Item("other", raises(OriginalChanged("not the same file"))),
        *(Item(f"more {number}", half) for number in range(20)),
    ]
    stream = io.StringIO()
    rows = list(write_rows(stream, score_all(items, ByColour(), STREET), 0.4))
    assert [row.key for row in rows] == [item.key for item in items]
    failed = {row.key: row.outcome.reason for row in rows if isinstance(row.outcome, Failed)}
    assert failed == {"gone": Reason.NOT_FOUND, "huge": Reason.MODEL_ERROR, "other": CHANGED}
    read = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert tuple(read[0]) == COLUMNS
    assert read[0]["score"] == "0.5840"  # half of it road, half sky
    assert read[0]["locatable"] == "yes"
    assert read[0]["top_classes"] == "road 0.500 gives 0.500; sky 0.500 gives 0.084"
    assert (read[1]["score"], read[1]["reason"], read[1]["detail"]) == ("", "not_found", "it is gone")


def test_a_folder_is_scored_file_by_file(tmp_path):
    half().save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    with Fetcher() as fetcher:
        rows = list(score_all(of_targets([str(tmp_path)], fetcher.fetch, Limits()), ByColour(), STREET))
    assert [row.key.rsplit("/", 1)[1] for row in rows] == ["a.png", "b.jpg"]
    assert rows[0].outcome.value == pytest.approx(0.584)
    assert isinstance(rows[1].outcome, Failed)
