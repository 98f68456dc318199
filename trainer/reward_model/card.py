"""What the folder of a reward model tells of itself, beside what every tuned model tells (`globetag.json`)."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.rewards.calibration import Calibration
from worker.checkpoints import CARD_NAME, Checkpoint
from worker.errors import SetupError

KEY = "reward_model"


@dataclass(frozen=True, slots=True)
class RewardCard:
    """`target` is a `trainer.reward_model.data.Target`, `words` are the yes and the no.

    `system` is what it was told, and must be told again: asked in other words it is another judge. `held_out` are
    figures on places that were not trained on: `raw`, and `calibrated` by the others of them.
    """

    target: str
    words: tuple[str, str]
    system: str
    calibration: Calibration
    held_out: dict[str, Any]


def write(folder: Path, card: RewardCard) -> None:
    """Puts it into the folder's card. Whoever reads at the same time reads the old or the new one."""
    path = folder / CARD_NAME
    whole = Checkpoint(folder.name, folder, None).card | {KEY: asdict(card)}
    beside = path.with_suffix(".new")
    with beside.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(whole, indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def read(folder: Path) -> RewardCard:
    """Raises `SetupError` where the folder holds no calibrated reward model."""
    found = Checkpoint(folder.name, folder, None).card.get(KEY)
    if not isinstance(found, dict):
        raise SetupError(
            f"{folder}: its {CARD_NAME} tells of no calibrated reward model; make one with `globetag train reward`"
        )
    try:
        slope, intercept = float(found["calibration"]["slope"]), float(found["calibration"]["intercept"])
        yes, no = found["words"]
        return RewardCard(
            str(found["target"]), (str(yes), str(no)), str(found["system"]), Calibration(slope, intercept),
            dict(found["held_out"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise SetupError(f"{folder}: its {CARD_NAME} has a {KEY} that cannot be read ({error!r})") from error
