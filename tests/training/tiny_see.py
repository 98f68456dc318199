"""Tiny segmentation models and a tiny sentence encoder with random weights, as checkpoints in folders.

They show that the plumbing fits each architecture; what they say of a picture means nothing.
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertModel,
    CLIPTokenizer,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    MaskFormerImageProcessor,
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    OneFormerImageProcessor,
    PreTrainedTokenizerFast,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SwinConfig,
)

from worker.checkpoints import CARD_NAME

NAMES = ["wall", "building", "sky", "tree", "road", "car"]
ARCHITECTURES = ("segformer", "maskformer", "mask2former", "oneformer")

_LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: number for number, name in enumerate(NAMES)}}
_SIZE = {"height": 64, "width": 64}
_EDGES = {"shortest_edge": 64, "longest_edge": 128}


def _swin() -> SwinConfig:
    return SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip


def save_segmenter(folder: Path, architecture: str, seed: int = 0) -> Path:
    """A checkpoint of that architecture with six classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = {
            "segformer": _segformer,
            "maskformer": _maskformer,
            "mask2former": _mask2former,
            "oneformer": _oneformer,
        }[architecture](folder)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / CARD_NAME).write_text(json.dumps({"untrained": True}))
    return folder


def _segformer(_folder):
    config = SegformerConfig(
        hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
        **_LABELS,
    )  # fmt: skip
    return SegformerForSemanticSegmentation(config), SegformerImageProcessor(size=_SIZE)


def _maskformer(_folder):
    from transformers import DetrConfig

    decoder = DetrConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16, decoder_ffn_dim=16,
        encoder_attention_heads=2, decoder_attention_heads=2, num_queries=5,
    )  # fmt: skip
    config = MaskFormerConfig(
        backbone_config=_swin(), decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32, **_LABELS
    )
    return MaskFormerForInstanceSegmentation(config), MaskFormerImageProcessor(size=_EDGES)


def _mask2former(_folder):
    config = Mask2FormerConfig(
        backbone_config=_swin(), feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_layers=1,
        encoder_feedforward_dim=16, dim_feedforward=16, decoder_layers=2, num_attention_heads=2, num_queries=5,
        **_LABELS,
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(config), Mask2FormerImageProcessor(size=_EDGES)


def _oneformer(folder):
    config = OneFormerConfig(
        backbone_config=_swin(), num_queries=5, text_encoder_width=32, text_encoder_vocab_size=1000,
        text_encoder_num_layers=1, text_encoder_proj_layers=1, text_encoder_n_ctx=4, conv_dim=32, mask_dim=32,
        hidden_dim=32, encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1, decoder_layers=2,
        num_attention_heads=2, task_seq_len=16, max_seq_len=16, is_training=False, **_LABELS,
    )  # fmt: skip
    _clip_tokenizer().save_pretrained(folder)
    return OneFormerForUniversalSegmentation(config), OneFormerImageProcessor(size=_EDGES, num_labels=6)


def _clip_tokenizer() -> CLIPTokenizer:
    letters = sorted({*"the task is semantic"} - {" "})
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])


def save_encoder(folder: Path, words: list[str], seed: int = 0) -> Path:
    """A BERT of random weights that knows these words: texts with words in common are somewhat alike."""
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=32
    ).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(
            BertConfig(
                vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                intermediate_size=32, max_position_embeddings=32,
            ),
            add_pooling_layer=False,
        )  # fmt: skip
    model.save_pretrained(folder)
    (folder / CARD_NAME).write_text(json.dumps({"untrained": True}))
    return folder
