"""A byte-level BPE tokenizer with Qwen's special tokens, learnt from what is said in the Atlas.

Byte-level: every text can be written and read back, whatever the corpus held. The corpus only decides which words
cost one token: those of the world's cues and places, of the answer grammar, and of reasons in general.

Each paragraph of the project's own prompts is one token, and so is each sentence that states a cue, each name of
a place and each part of the answer's form. So a small model reads the whole question in some twenty tokens instead
of four hundred and answers in thirty instead of ninety, which is what makes it trainable on a CPU. A prompt that
was reworded is still read, through ordinary tokens; the model then has to be trained anew, as any model would.
"""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from atlas.language import VARIANTS, corpus, cue_phrase
from atlas.world import load_world
from worker.reason.prompt import STYLES, build_prompt

VOCABULARY = 1536
"""At most so many byte pairs; the prompts' paragraphs and the special tokens follow after."""

END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = "<|im_end|>"
SPECIAL_TOKENS = (
    END_OF_TEXT,
    "<|im_start|>",
    END_OF_TURN,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

GENERAL = (
    "system\nYou are a helpful assistant.\nuser\nWhere was this photograph taken?\nassistant\n",
    "<think>The signs are written in a script used there, and the shop names point the same way.</think>",
    "<think>The road markings, the number plates and the side of driving narrow it down.</think>",
    "<think>The architecture, the roofs and the colour of the stone are typical of this region.</think>",
    "<think>The vegetation and the light suggest a warm, dry climate; the coast and the hills fit.</think>",
    "<think>Nothing in the picture tells where it was taken: no text, no building, no landscape.</think>",
    "<answer>country: unknown\nregion: unknown\ncity: unknown\nlat: 12.345678\nlon: -90.345678</answer>",
    "Yes, this can be placed. No, this cannot be placed. yes no",
    "caption: region: date: The archive's records say: a street, a church, a market, a bridge.",
)
"""Words that any model of this project needs, beside those of the world."""

FORM = ("<think>", "</think><answer>country:", "\nregion:", "\ncity:", "</answer>")
"""The parts of the canonical answer (`worker.reason.answer`)."""

_SHORTEST = 12


def build_tokenizer() -> Qwen2Tokenizer:
    """Deterministic: the same world and prompts give the same tokens."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner.decoder = decoders.ByteLevel()
    learner.train_from_iterator(
        [*GENERAL * 4, *corpus(load_world())],
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = Qwen2Tokenizer(*_vocabulary_and_merges(learner), eos_token=END_OF_TURN, pad_token=END_OF_TEXT)
    whole = [*prompt_paragraphs(), *said_in_one()]
    tokenizer.add_tokens([AddedToken(part, special=False, normalized=False) for part in whole])
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer


def prompt_paragraphs() -> list[str]:
    """The paragraphs of all prompts without what an archive's records fill in, longest first."""
    found: set[str] = set()
    for style in STYLES:
        prompt = build_prompt(text="\x00", style=style)
        for paragraph in [*prompt.system.split("\n\n"), *prompt.user.split("\n\n")]:
            found.add(paragraph.partition("\x00")[0].strip("\n"))
    return sorted((part for part in found if len(part) >= _SHORTEST), key=lambda part: (-len(part), part))


def said_in_one() -> list[str]:
    """What the world's texts say in one token: sentences about a cue, first or after others; names; tags, keys."""
    world = load_world()
    sentences = [
        cue_phrase(kind.name, value, variant)
        for kind in world.kinds
        for value in kind.values
        for variant in range(VARIANTS)
    ]
    names = {name for city in world.cities for name in (city.country, city.region, city.name)}
    return [
        *FORM,
        *(f"{FORM[0]}{sentence}" for sentence in sentences),
        *(f" {sentence}" for sentence in sentences),
        *(f" {name}" for name in sorted(names)),
    ]


def _vocabulary_and_merges(learner: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    learnt = json.loads(learner.to_str())["model"]
    return learnt["vocab"], [tuple(pair) for pair in learnt["merges"]]
