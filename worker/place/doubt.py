"""When one answer is not enough: the rule by which further answers of the LVLM are drawn.

One answer costs one generation; eight cost eight, and change the chosen place only where the model is unsure.
So further answers are drawn only where something speaks against the first: the model found its own words unlikely,
the gate found little to go by, or the archive's similar photographs lie elsewhere. They are drawn a few at a time,
and no more once enough of all weight stands behind one outcome.
"""

from dataclasses import dataclass

MIN_AGREEMENT = 0.33
"""A place with less of all weight behind it is none. Of 13 places with less than a third of the weight of eight
answers 1 was within 25 km, of the 104 with more 64 (the Atlas's two models on 88 calibration scenes)."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """The rule. `most_answers` 1 turns it off. All of it is part of the pipeline's version.

    `min_logprob`: a first answer is doubted whose tokens have a lower mean log-probability. It differs from model
    to model (the Atlas's two have medians of -0.19 and -0.33), so there is none until one was measured: None
    raises no doubt, nor does an engine that does not tell. `min_gate_score`: photographs below this score are
    doubted. `enough_agreement`: the share of all weight behind one outcome at which nothing more is drawn.
    """

    most_answers: int = 8
    step: int = 2
    temperature: float = 0.7
    min_logprob: float | None = None
    min_gate_score: float = 0.0
    enough_agreement: float = 0.6

    def further(
        self, *, drawn: int, agreement: float, mean_logprob: float | None, gate_score: float, readable: bool
    ) -> int:
        """How many answers to draw now, 0 for none.

        `drawn` answers are there; `agreement` is the share of the weight behind their outcome; `mean_logprob` and
        `readable` speak of the first.
        """
        left = max(0, self.most_answers - drawn)
        if drawn > 1:
            return 0 if agreement >= self.enough_agreement else min(self.step, left)
        sure = mean_logprob is None or self.min_logprob is None or mean_logprob >= self.min_logprob
        if readable and sure and gate_score >= self.min_gate_score and agreement >= self.enough_agreement:
            return 0
        return min(self.step, left)
