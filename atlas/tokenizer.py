"""A byte-level BPE tokenizer with Qwen's special tokens, learnt from a page of our own text.

Byte-level: every text can be written and read back, whatever the corpus held. The corpus only decides which words
cost one token: those of the answer format, of reasoning about places, and some names.
"""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

VOCABULARY = 1024
"""At most so many byte pairs; the special tokens follow after."""

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

PLACES = (
    ("France", "Île-de-France", "Paris"),
    ("France", "Provence-Alpes-Côte d'Azur", "Marseille"),
    ("Germany", "Bavaria", "Munich"),
    ("Germany", "Hamburg", "Hamburg"),
    ("Italy", "Lazio", "Rome"),
    ("Spain", "Catalonia", "Barcelona"),
    ("Portugal", "Lisbon", "Lisbon"),
    ("United Kingdom", "Scotland", "Edinburgh"),
    ("Ireland", "Leinster", "Dublin"),
    ("Norway", "Vestland", "Bergen"),
    ("Sweden", "Stockholm", "Stockholm"),
    ("Poland", "Lesser Poland", "Kraków"),
    ("Greece", "Attica", "Athens"),
    ("Türkiye", "Istanbul", "Istanbul"),
    ("Egypt", "Cairo", "Cairo"),
    ("Morocco", "Marrakesh-Safi", "Marrakesh"),
    ("Nigeria", "Lagos", "Lagos"),
    ("Niger", "Niamey", "Niamey"),
    ("Kenya", "Nairobi", "Nairobi"),
    ("South Africa", "Western Cape", "Cape Town"),
    ("India", "Maharashtra", "Mumbai"),
    ("Thailand", "Bangkok", "Bangkok"),
    ("Viet Nam", "Hà Nội", "Hanoi"),
    ("China", "Sichuan", "Chengdu"),
    ("Japan", "Kyoto", "Kyoto"),
    ("Australia", "New South Wales", "Sydney"),
    ("New Zealand", "Otago", "Dunedin"),
    ("United States", "California", "San Francisco"),
    ("United States", "New York", "New York City"),
    ("Canada", "Quebec", "Montreal"),
    ("Mexico", "Oaxaca", "Oaxaca"),
    ("Brazil", "Rio de Janeiro", "Rio de Janeiro"),
    ("Argentina", "Buenos Aires", "Buenos Aires"),
    ("Chile", "Valparaíso", "Valparaíso"),
)

REASONS = (
    "The signs are written in a script used there, and the shop names point the same way.",
    "The road markings, the number plates and the side of the road on which the cars drive narrow it down.",
    "The architecture, the roofs and the colour of the stone are typical of this region.",
    "The vegetation and the light suggest a warm, dry climate; the coast and the hills fit.",
    "The tower, the bridge and the church beside the river look like a well-known landmark.",
    "Nothing in the picture tells where it was taken: there is no text, no building and no landscape.",
)


def corpus() -> list[str]:
    """Conversations in the form in which the models of this project answer, one for each place and reason."""
    return [
        "You are asked where a photograph was taken. Think first, then answer with country, region and city.\n"
        f"user\nWhere was this photograph taken?\nassistant\n<think>{reason} This could be {city}, in {region},"
        f" {country}.</think>\n<answer>\ncountry: {country}\nregion: {region}\ncity: {city}\nlatitude: unknown\n"
        "longitude: unknown\nconfidence: low\n</answer>"
        for country, region, city in PLACES
        for reason in REASONS
    ]


def build_tokenizer() -> Qwen2Tokenizer:
    """Deterministic: the same corpus gives the same tokens."""
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
        corpus(),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = Qwen2Tokenizer(*_vocabulary_and_merges(learner), eos_token=END_OF_TURN, pad_token=END_OF_TEXT)
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer


def _vocabulary_and_merges(learner: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    learnt = json.loads(learner.to_str())["model"]
    return learnt["vocab"], [tuple(pair) for pair in learnt["merges"]]
