"""`globetag train gate`: fits the gate's head to what the archive knows of this pipeline's successes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.settings import load

if TYPE_CHECKING:
    from trainer.gate.outcomes import Outcomes
    from worker.gate.head import Head


@click.command("gate")
@click.option("--collection", help="Only photographs of this collection.")
@click.option(
    "--max-risk",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="At most this share of the points that pass may be more than 25 km off.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Folder to make.  [default: below GLOBETAG_HOME]")
@click.option("--seed", default=0, show_default=True, help="Decides between equals.")
def command(collection: str | None, max_risk: float, output: Path | None, seed: int) -> None:
    """Fit the gate to outcomes: which photographs does this pipeline place, and how near?

    Learns from photographs with a known place that the model was asked about (`globetag run --verify`) and whose
    collections allow training. What it says is judged at places that it has not seen, and its threshold is the
    lowest one that is proven to keep --max-risk. Where there is too little to learn from, nothing is written and
    the zero-shot head stays.
    """
    import numpy as np

    from trainer.gate.outcomes import read_outcomes
    from trainer.gate.train import refuse_too_little, train_head
    from worker.database import open_database
    from worker.gate.clip import load_gate
    from worker.gate.head import save_head

    settings, _ = load()
    gate = load_gate(settings.clip, device=settings.device)
    try:
        with open_database(settings) as database:
            outcomes = read_outcomes(
                database.engine, base=settings.model, backbone=gate.identity, collection=collection
            )
        refuse_too_little(outcomes)
        head = train_head(
            outcomes,
            backbone=gate.identity,
            reference_P_D=gate.reference_embeddings(),
            max_risk=max_risk,
            zero_shot_N=np.array([gate.zero_shot.score(row_D) for row_D in outcomes.embedding_N_D]),
            seed=seed,
        )
    finally:
        gate.close()
    folder = output or settings.models_folder / f"gate-head-{head.version[:8]}"
    save_head(head, folder)
    _tell(head, outcomes, folder)


def _tell(head: "Head", outcomes: "Outcomes", folder: Path) -> None:
    metrics, card = head.card.metrics, head.card
    click.echo(
        f"{metrics['photographs']:,} photographs in {metrics['cells']:,} cells, {metrics['located']:,} of them"
        f" with a point; outcomes of {card.pipeline}"
    )
    for why, count in sorted(outcomes.left_out.items()):
        click.echo(f"  left out {count:,}: {why}")
    click.echo("at places that the head had not seen:")
    for km, said in metrics["within_km"].items():
        auroc = "–" if said["auroc"] is None else f"{said['auroc']:.3f}"
        click.echo(
            f"  within {km:>3} km: {said['share_within']:.3f} of all, AUROC {auroc}, calibration error"
            f" {said['ece']:.3f}, Brier {said['brier']:.3f}"
        )
    click.echo(f"  the zero-shot head's AUROC for {card.radii_km[0]} km: {metrics['zero_shot_auroc']:.3f}")
    chosen = metrics["threshold"]
    click.echo(
        f"threshold {card.threshold:.3f}: {chosen['coverage']:.3f} of all pass, {chosen['risk']:.3f} of their"
        f" points are wrong, at most {chosen['upper']:.3f} with {card.confidence:.0%} confidence"
    )
    click.echo(f"{folder} holds the head; it serves where GLOBETAG_GATE_HEAD={folder.absolute()}")
