"""Peer: vLLM's own offline `LLM.chat` over a folder, and a CSV at the end."""

import csv
import os
import sys
from pathlib import Path

from benchmarks.peers.asking import MODEL, PROMPT, SAMPLING, files_of, read
from benchmarks.peers.datasets_map import rows_of
from benchmarks.peers.turns import serve
from benchmarks.pinning import children, separate


def main(home: Path) -> None:
    """Loads the model and takes turns; the answers are in `answers.csv` of the home once a folder is through."""
    from vllm import LLM, SamplingParams

    model = LLM(
        str(MODEL),
        dtype="float32",
        max_model_len=4096,
        enforce_eager=True,  # as ours on a CPU: compiling takes minutes
        limit_mm_per_prompt={"image": 1, "video": 0},
    )
    separate(children(), {os.getpid()})
    how = SamplingParams(temperature=SAMPLING.temperature, max_tokens=SAMPLING.max_tokens)
    table = home / "answers.csv"

    def run(folder: Path) -> None:
        paths = files_of(folder)
        asked = [
            [
                {"role": "system", "content": PROMPT.system},
                {
                    "role": "user",
                    "content": [
                        {"type": "image_pil", "image_pil": read(path)},
                        {"type": "text", "text": PROMPT.user},
                    ],
                },
            ]
            for path in paths
        ]
        answers = model.chat(asked, how, use_tqdm=False)
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "text"))
            writer.writerows((path, answer.outputs[0].text) for path, answer in zip(paths, answers, strict=True))

    serve(run, run, lambda: rows_of(table))
    model.llm_engine.engine_core.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
