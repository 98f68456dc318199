"""Complete checkpoint folders: written from a tuned model, or by merging a LoRA adapter into its base.

A folder holds what its base holds (configuration, processor, tokenizer and chat template, byte for byte), new
weights, and a card. An adapter is kept beside the weights that it was merged into, in `adapter/`, where no loader
looks by itself.

Merging is arithmetic in float32 and is checked twice. The outputs of the merged model must be those of base and
adapter together; and since storing in 16 bits rounds away what is smaller than half a unit in the last place, the
share of the change that survives storage is measured.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from PIL import Image
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor

from worker.checkpoints import CARD_NAME, Checkpoint
from worker.errors import SetupError
from worker.reason.conversation import KEPT_TAGS, conversation
from worker.reason.engines.processor import no_progress_bar
from worker.reason.prompt import build_prompt

log = logging.getLogger(__name__)

ADAPTER = "adapter"
KEPT_ENOUGH = 0.9
"""A merge that keeps less of its adapter's change than this says so."""
LOGIT_TOLERANCE = 1e-3
"""Of the largest logit. float32 sums in another order differ by some 1e-6 of it in a layer."""

_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_KEPT_SUFFIXES = frozenset({".json", ".jinja", ".model", ".txt"})


@dataclass(frozen=True, slots=True)
class MergeReport:
    """`logit_difference` is the largest between the merged model and base with adapter, in float32, over a probe
    picture and prompt; `largest_logit` is its yardstick. `change_kept` is the share of the adapter's change of the
    weights that is left in the stored ones, 1 where nothing is lost (projection of the one on the other)."""

    logit_difference: float
    largest_logit: float
    change_kept: float


def merge_adapter(
    base: Path, adapter: Path, folder: Path, *, dtype: torch.dtype, card: dict[str, Any]
) -> MergeReport:
    """Merges the adapter in `adapter` into the checkpoint `base` and writes the result into the empty `folder`.

    Raises `SetupError` where the adapter was made for another base, `ArithmeticError` where the merged model
    answers otherwise than base and adapter do.
    """
    _check_base(base, adapter)
    model = load_model(base, torch.float32)
    inputs = _probe(base)
    tuned = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False).eval()
    apart = _logits(tuned, inputs)
    kept = _change_kept(tuned, dtype)
    merged = tuned.merge_and_unload(safe_merge=True)
    difference = (_logits(merged, inputs) - apart).abs().max().item()
    report = MergeReport(difference, apart.abs().max().item(), kept)
    if not difference <= LOGIT_TOLERANCE * report.largest_logit:
        raise ArithmeticError(
            f"merged, the model answers otherwise than base and adapter: logits differ by {difference:.3g}"
            f" of {report.largest_logit:.3g}"
        )
    if kept < KEPT_ENOUGH:
        log.warning(
            "stored as %s, the merged weights keep %.0f %% of what the adapter changed; float32 keeps all",
            dtype, 100 * kept,
        )  # fmt: skip
    shutil.copytree(adapter, folder / ADAPTER)
    write_checkpoint(merged, base, folder, dtype=dtype, card={**card, "merge": asdict(report)})
    return report


def write_checkpoint(model: Any, base: Path, folder: Path, *, dtype: torch.dtype, card: dict[str, Any]) -> None:
    """Writes weights in `dtype`, the other files of `base` as they are, and the card into the folder `folder`.

    The model is of no use afterwards: its parameters were converted. Only the statement of the weights' type in
    `config.json` differs from the base's, and only where the type does.
    """
    with no_progress_bar():
        model.to(dtype).save_pretrained(folder)
    for path in base.iterdir():
        if path.is_file() and _is_kept(path):
            shutil.copyfile(path, folder / path.name)
    if dtype != stored_dtype(base):
        _state_dtype(folder / "config.json", dtype)
    folder.joinpath(CARD_NAME).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


@contextmanager
def made_beside(output: Path) -> Iterator[Path]:
    """Yields an empty folder beside `output` that gets this name at the end, and is removed when something fails.

    Raises `SetupError` where `output` exists and is no empty folder, at the start and once more at the end.
    """
    refuse_occupied(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
        made = Path(scratch, "made")
        made.mkdir()
        yield made
        refuse_occupied(output)
        made.replace(output)  # onto an empty folder or none


def refuse_occupied(output: Path) -> None:
    """Raises `SetupError` where `output` exists and is no empty folder."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise SetupError(f"{output} exists already; choose another output, or remove it")


def load_model(folder: Path, dtype: torch.dtype, *, attention: str = "sdpa") -> Any:
    """The vision-language model in this folder, on the CPU. `attention` names one of transformers' kernels.

    Raises `SetupError` where it cannot be loaded.
    """
    try:
        with no_progress_bar():
            return AutoModelForImageTextToText.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
            )
    except (OSError, ValueError) as error:
        raise SetupError(f"{folder}: no vision-language checkpoint that can be loaded ({error})") from error


def load_processor(folder: Path) -> Any:
    """The processor in this folder. Raises `SetupError` where there is none that takes pictures."""
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise SetupError(f"{folder}: no processor that can be loaded ({error})") from error
    if not hasattr(processor, "image_processor"):
        raise SetupError(f"{folder}: its processor takes no pictures; choose a vision-language checkpoint")
    return processor


def special_tokens(processor: Any) -> frozenset[str]:
    """The tokens that must never come out of a text: those that open turns or stand for pictures."""
    added = processor.tokenizer.added_tokens_decoder.values()
    return frozenset(token.content for token in added if token.special).difference(KEPT_TAGS)


def stored_dtype(folder: Path) -> torch.dtype:
    """The type of the most tensors in this folder's weights. Raises `SetupError` for one that cannot be tuned."""
    counts: dict[str, int] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (not a mapping)
                kind = weights.get_slice(name).get_dtype()
                counts[kind] = counts.get(kind, 0) + 1
    commonest = max(counts, key=lambda kind: counts[kind], default="nothing")
    if commonest not in _DTYPES:
        raise SetupError(
            f"{folder} holds {commonest} weights; choose a checkpoint in float32, bfloat16 or float16"
        )
    return _DTYPES[commonest]


def mark_adapter(adapter: Path, base: Path) -> None:
    """Notes in a saved adapter which weights it belongs to, by name and fingerprint, in place of a path."""
    config_path = adapter / "adapter_config.json"
    config = json.loads(config_path.read_bytes())
    config["base_model_name_or_path"] = base.name
    config_path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    adapter.joinpath("README.md").unlink(missing_ok=True)  # a form with nothing filled in
    mark = {"base": base.name, "base_fingerprint": fingerprint(base)}
    adapter.joinpath(CARD_NAME).write_text(json.dumps(mark, indent=2) + "\n", encoding="utf-8")


def fingerprint(folder: Path) -> str:
    """The worker's own fingerprint of a checkpoint folder."""
    return Checkpoint(folder.name, folder, None).fingerprint()


def _check_base(base: Path, adapter: Path) -> None:
    """An adapter fits any base of its shape, and is noise on all but one: stage 2's belongs on merged stage 1."""
    card = Checkpoint(adapter.name, adapter, None).card
    expected, found = card.get("base_fingerprint"), fingerprint(base)
    if expected != found:
        raise SetupError(
            f"the adapter in {adapter} was trained on {card.get('base', 'a base that it does not name')}"
            f" (fingerprint {str(expected)[:12]}), not on {base} ({found[:12]}); merge it into its own base"
        )


def _change_kept(tuned: Any, dtype: torch.dtype) -> float:
    """See `MergeReport.change_kept`; 1 for an adapter that changes nothing."""
    kept = whole = 0.0
    for module in tuned.modules():
        if isinstance(module, LoraLayer):
            before = module.get_base_layer().weight.detach()
            change = module.get_delta_weight(tuned.active_adapter).detach()
            left = (before + change).to(dtype).float() - before
            kept += torch.sum(left.double() * change.double()).item()
            whole += torch.sum(change.double() ** 2).item()
    return kept / whole if whole else 1.0


def _probe(folder: Path) -> dict[str, torch.Tensor]:
    """One picture and the worker's prompt, ready for the model."""
    processor = load_processor(folder)
    patches = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(patches).resize((224, 224), Image.Resampling.NEAREST)
    messages = conversation(build_prompt(), image, special_tokens(processor))
    return dict(
        processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
    )


def _logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model.eval()(**inputs).logits
        return logits


def _is_kept(path: Path) -> bool:
    if path.name == CARD_NAME or path.name.endswith(".index.json"):
        return False
    return path.suffix in _KEPT_SUFFIXES or path.name.startswith(("LICENSE", "NOTICE"))


def _state_dtype(config_path: Path, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")

    def stated(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: name if key in ("dtype", "torch_dtype") else stated(inner) for key, inner in value.items()}

    config = stated(json.loads(config_path.read_bytes()))
    config_path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
