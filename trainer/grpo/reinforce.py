"""Reinforcement learning of the LVLM with TRL's `GRPOTrainer`: all parameters, or LoRA adapters, by recipe.

The trainer sees a data set of row numbers; questions become conversations, and pictures are opened, when their
batch is due. What it asks is what serving asks, token for token. Its only reward function is the recipe's
`RewardSet`.

A run keeps its state in OUTPUT.checkpoints until the end: the trainer's checkpoints, each marked when it is
complete, and the figures of every step. The same call goes on from the last marked one.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from trainer.checkpoints import checkpoints_of, last_complete, mark_complete
from trainer.grpo.alarms import RunStopped, Watch
from trainer.grpo.feed import TimedRewards, data_set
from trainer.grpo.figures import STEPS_NAME, History, plain
from trainer.grpo.plot import PLOT_NAME, write_plot
from trainer.grpo.questions import Question, check
from trainer.grpo.recipe import GrpoRecipe
from trainer.grpo.resources import explained
from trainer.grpo.trainer import Trainer, training_dtype, trl_arguments
from trainer.merge import (
    ADAPTER,
    fingerprint,
    load_model,
    load_processor,
    made_beside,
    mark_adapter,
    merge_adapter,
    refuse_occupied,
    stored_dtype,
    write_checkpoint,
)
from trainer.rewards.cues import PhraseReader
from trainer.rewards.visual import CueReader
from trainer.rewards.weights import RewardSet
from trainer.sft.fine_tune import freeze_vision, lora_config
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer
from worker.reason.engines.processor import no_progress_bar
from worker.reason.prompt import PROMPT_HASH

log = logging.getLogger(__name__)

BUILDER = "trainer.grpo/1"
SIDE = "training"
"""Folder inside a finished checkpoint for the figures of its training and their plot."""
BOARD = "tensorboard"
OnStep = Callable[[int, Mapping[str, float]], None]
HeldOut = Callable[[Path], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class GrpoResult:
    """`folder` is a complete checkpoint, `plot` a page inside it. `history` holds the figures of each step, in
    order, `figures` the last ones of each name. `seconds` is the time of this call's training loop."""

    folder: Path
    steps: int
    seconds: float
    history: tuple[Mapping[str, float], ...]
    figures: Mapping[str, float]
    plot: Path


def reinforce(
    model_folder: Path,
    questions: Sequence[Question],
    recipe: GrpoRecipe,
    output: Path,
    *,
    seed: int,
    cue_reader: CueReader | None = None,
    on_step: OnStep | None = None,
    judge: HeldOut | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
    device: str | None = None,
) -> GrpoResult:
    """Trains the checkpoint in `model_folder` by the recipe's rewards; writes a complete checkpoint to `output`.

    `cue_reader` reads stated cues for the visual reward; without one, phrases are those of the questions'
    `true_cues`. `on_step` gets every step's figures under plain names (`trainer.grpo.figures`). `judge` is given
    a complete checkpoint folder, before the first step and every `judge_every_steps`, and returns held-out
    figures, `accuracy` among them; they are gone on with as `held_out/...`, and the folder is removed.
    `is_cancelled` is asked after every step. `device` is "cpu" or "cuda", by default what there is.

    An interrupted call goes on from the last complete checkpoint when it is repeated with the same arguments; a
    stopped or failed one leaves its checkpoints too. The same seed gives the same weights on a CPU.

    Raises `SetupError` for an occupied output, questions, a model or a recipe that do not fit, a loss that is no
    number, memory or disk that does not suffice; `RunStopped` where the run was cancelled or an alarm went off;
    `RewardFailed` with the question's id where a reward could not be worked out.
    """
    where = _one_device(device, recipe)
    refuse_occupied(output)
    if judge is None and recipe.judge_every_steps is not None:
        log.warning("nobody judges on held-out pictures: rewards that are hacked will not be noticed")
    if cue_reader is None and "visual" in recipe.rewards.by_name:
        cue_reader = _phrases(questions)
    rewards = recipe.reward_set(cue_reader)
    data_hash = check(questions, rewards.columns)
    card = _card(model_folder, questions, data_hash, recipe, seed)
    with ExitStack() as stack, explained(recipe):
        main = PartialState().is_main_process
        checkpoints = stack.enter_context(checkpoints_of(output, card, main=main))
        PartialState().wait_for_everyone()
        run = _Run(model_folder, questions, recipe, rewards, checkpoints, seed, where)
        history = History(checkpoints / STEPS_NAME, run.resumed_step, writes=main)
        watch = _Watch(run, history, judge, on_step, is_cancelled)
        run.trainer.add_callback(watch)
        started_s = time.monotonic()
        watch.begin()
        with no_progress_bar():
            run.trainer.train(resume_from_checkpoint=None if run.last is None else str(run.last))
        seconds = time.monotonic() - started_s
        watch.end()
        steps = int(run.trainer.state.global_step)
        figures = history.latest()
        weights = run.weights()
        # Not around the training: a kill would leave the unfinished folder behind.
        made = stack.enter_context(made_beside(output)) if main else None
        if made is not None:
            run.write(made, weights, card | {"steps": steps, "figures": figures})
            side = made / SIDE
            side.mkdir()
            shutil.copyfile(checkpoints / STEPS_NAME, side / STEPS_NAME)
            write_plot(side / PLOT_NAME, history.entries, title=f"{output.name}: recipe {recipe.name}")
            if (checkpoints / BOARD).is_dir():
                shutil.copytree(checkpoints / BOARD, side / BOARD)
        PartialState().wait_for_everyone()
    return GrpoResult(output, steps, seconds, tuple(history.entries), figures, output / SIDE / PLOT_NAME)


def _one_device(name: str | None, recipe: GrpoRecipe) -> torch.device:
    """Raises `SetupError` where there are other processes than the recipe says."""
    found = int(os.environ.get("WORLD_SIZE", "1"))
    if found != recipe.processes:
        start = f"accelerate launch --num_processes {recipe.processes}" if recipe.processes > 1 else "plain python"
        raise SetupError(
            f"recipe {recipe.name} is for {recipe.processes} processes, and {found} run; start it by {start}, or"
            " change processes in the recipe"
        )
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and torch.cuda.device_count() > 1 and found == 1:
        raise SetupError("this recipe is for one process; set CUDA_VISIBLE_DEVICES to one GPU")
    return device


def _phrases(questions: Sequence[Question]) -> PhraseReader | None:
    """A reader of all cues that are verified anywhere; None where no question states any."""
    lists = [question.columns.get("true_cues") for question in questions]
    stated = [cues for cues in lists if cues is not None]
    return PhraseReader.over(stated) if stated else None


class _Run:
    """Trainer, model and data of one call. `last` is the checkpoint that it goes on from, if there is one."""

    def __init__(
        self,
        base: Path,
        questions: Sequence[Question],
        recipe: GrpoRecipe,
        rewards: RewardSet,
        checkpoints: Path,
        seed: int,
        device: torch.device,
    ) -> None:
        self.base, self.recipe, self.checkpoints = base, recipe, checkpoints
        self.last = last_complete(checkpoints, main=PartialState().is_main_process)
        self.resumed_step = 0 if self.last is None else int(self.last.name.rpartition("-")[2])
        processor = load_processor(base)
        processor.tokenizer.padding_side = "left"
        arguments = trl_arguments(recipe, checkpoints, seed, device)
        # Where all parameters are tuned the checkpoint is a whole model; see `Trainer`.
        start = self.last if self.last is not None and recipe.lora is None else base
        model = load_model(start, training_dtype(recipe), attention=recipe.attention)
        model.config._name_or_path = str(base)  # from here TRL loads the reference of the KL divergence
        if recipe.freeze_vision:
            freeze_vision(model)
        self.rewards = TimedRewards(rewards, processor)
        with no_progress_bar():
            self.trainer = Trainer(
                model=model,
                reward_funcs=self.rewards,
                args=arguments,
                train_dataset=data_set(questions, processor, recipe.max_pixels),
                processing_class=processor,
                peft_config=None if recipe.lora is None else lora_config(model, recipe.lora),
            )
        for printing in (PrinterCallback, ProgressCallback):
            self.trainer.remove_callback(printing)

    def weights(self) -> dict[str, torch.Tensor]:
        """What was tuned, on the CPU; of all processes together, so all of them must call this."""
        trainer = self.trainer
        if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
            state: dict[str, torch.Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        else:
            state = trainer.accelerator.unwrap_model(trainer.model).state_dict()
        whole = self.recipe.lora is None
        return {name: tensor.detach().cpu() for name, tensor in state.items() if whole or "lora_" in name}

    def write(self, folder: Path, weights: dict[str, torch.Tensor], card: dict[str, Any]) -> None:
        """The model as it stands, as a complete checkpoint, into the empty `folder`. Training can go on."""
        base_dtype = stored_dtype(self.base)
        if self.recipe.lora is None:
            # Into a fresh copy: converting the trained one would end the training.
            model = load_model(self.base, base_dtype)
            model.load_state_dict(weights)
            write_checkpoint(model, self.base, folder, dtype=base_dtype, card=card)
            return
        with TemporaryDirectory(prefix=".adapter-", dir=self.checkpoints) as scratch:
            adapter = Path(scratch, ADAPTER)
            tuned = self.trainer.accelerator.unwrap_model(self.trainer.model)
            tuned.save_pretrained(adapter, state_dict=weights, save_embedding_layers=False)
            mark_adapter(adapter, self.base)
            dtype = torch.float32 if self.recipe.lora.merged_dtype == "float32" else base_dtype
            merge_adapter(self.base, adapter, folder, dtype=dtype, card=card)


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Sees each step: figures, held-out judgement, alarms, cancelling; and marks checkpoints as complete."""

    def __init__(
        self,
        run: _Run,
        history: History,
        judge: HeldOut | None,
        on_step: OnStep | None,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._run = run
        self._history = history
        self._judge = judge
        self._on_step = on_step
        self._is_cancelled = is_cancelled
        self._main = PartialState().is_main_process
        self._alarms = Watch(run.recipe.limits)
        self._board = _board(run.checkpoints / BOARD) if run.recipe.tensorboard and self._main else None
        self._since_s = time.monotonic()

    def begin(self) -> None:
        """Before the first step: what earlier calls saw is seen again, or the base is judged."""
        for entry in self._history.entries:
            self._alarms.see(int(entry["step"]), entry)
        Gazetteer.load()  # not in the first step's seconds
        if self._judge is not None and self._run.recipe.judge_every_steps and not self._history.entries:
            figures = self._held_out(self._run.base) if self._main else {}
            self._tell(0, figures)
        self._since_s = time.monotonic()

    def end(self) -> None:
        if self._board is not None:
            self._board.close()

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, Any], **_: Any) -> None:
        if "loss" not in logs:
            return
        taken_s = time.monotonic() - self._since_s
        recipe, step = self._run.recipe, int(state.global_step)
        figures = plain(logs, recipe.completions_per_rollout, step_s=taken_s, reward_s=self._run.rewards.taken_s())
        every = recipe.judge_every_steps
        if self._judge is not None and every is not None and step % every == 0:
            figures |= self._judged()
        self._tell(step, figures)
        if self._is_cancelled():
            raise RunStopped("cancelled", f"at step {step}; the same call goes on from the last checkpoint")
        self._since_s = time.monotonic()

    def on_save(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        if self._main:
            checkpoint = self._run.checkpoints / f"checkpoint-{state.global_step}"
            mark_complete(checkpoint)
        self._since_s = time.monotonic()

    def _tell(self, step: int, figures: dict[str, float]) -> None:
        self._history.add(step, figures)
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)
        if self._on_step is not None and self._main:
            self._on_step(step, figures)
        self._alarms.see(step, figures)

    def _judged(self) -> dict[str, float]:
        weights = self._run.weights()
        if not self._main:
            return {}
        with TemporaryDirectory(prefix=".judged-", dir=self._run.checkpoints) as scratch:
            folder = Path(scratch, "model")
            folder.mkdir()
            self._run.write(folder, weights, {"untrained": False, "built_by": BUILDER})
            return self._held_out(folder)

    def _held_out(self, folder: Path) -> dict[str, float]:
        if self._judge is None:
            return {}
        with torch.random.fork_rng():  # judging must not change what is drawn afterwards
            return {f"held_out/{name}": float(value) for name, value in self._judge(folder).items()}


def _board(folder: Path) -> Any:
    """A writer for TensorBoard, None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning(
            "the recipe asks for TensorBoard, which is not installed; the figures are in %s alone", STEPS_NAME
        )
        return None
    return SummaryWriter(str(folder))


def _card(
    base: Path, questions: Sequence[Question], data_hash: str, recipe: GrpoRecipe, seed: int
) -> dict[str, Any]:
    """What the weights came from. No times and no paths: the same run writes the same card."""
    return {
        "untrained": False,
        "built_by": BUILDER,
        "base": base.name,
        "base_fingerprint": fingerprint(base),
        "recipe": recipe.name,
        "recipe_hash": recipe.digest,
        "prompt_hash": PROMPT_HASH,
        "data_hash": data_hash,
        "questions": len(questions),
        "seed": seed,
        "trl": version("trl"),
        "transformers": version("transformers"),
        "peft": version("peft"),
        "torch": version("torch"),
    }
