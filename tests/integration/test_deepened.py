"""The dearer model of `benchmarks.efficiency` says what the tiny one says."""

import pytest
from PIL import Image

from benchmarks.deepened import deepen
from benchmarks.line import TINY
from worker.reason.engines import Sampling
from worker.reason.prompt import build_prompt

pytestmark = pytest.mark.models


def test_further_layers_add_cost_and_nothing_else(tmp_path):
    from worker.reason.engines.transformers import load_engine

    deeper = deepen(TINY, tmp_path / "deeper", layers=9)
    answers = []
    for folder in (TINY, deeper):
        engine = load_engine(str(folder), device="cpu", dtype="float32")
        [answer] = engine.generate(
            build_prompt(),
            Image.effect_mandelbrot((112, 112), (-2, -1, 1, 1), 50).convert("RGB"),
            Sampling(max_tokens=48),
        )
        engine.close()
        answers.append(answer)
    tiny, deep = answers
    assert tiny.text == deep.text and tiny.tokens > 5
    assert deep.mean_logprob == pytest.approx(tiny.mean_logprob, abs=1e-4)
    size = [(folder / "model.safetensors").stat().st_size for folder in (TINY, deeper)]
    assert size[1] > 2 * size[0]


def test_a_model_with_more_layers_already_is_refused(tmp_path):
    with pytest.raises(ValueError, match="more than 2"):
        deepen(TINY, tmp_path / "deeper", layers=2)
