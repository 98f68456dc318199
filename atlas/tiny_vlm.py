"""A Qwen2.5-VL of about three million parameters: the real architecture, processor and chat template, made small.

Folder and files are those of a normal checkpoint, so that whatever loads a Qwen2.5-VL loads this one.
"""

from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from atlas.tokenizer import END_OF_TEXT, END_OF_TURN, build_tokenizer
from worker.reason.engines.processor import no_progress_bar

PATCH_PX = 14
MERGE = 2
SIDE_PX = 112
"""Pictures are shrunk to at most SIDE_PX x SIDE_PX pixels of any shape: 16 visual tokens."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_tiny_vlm(folder: Path, seed: int, *, half: bool = False) -> int:
    """Writes an untrained checkpoint into `folder` and returns its number of parameters.

    `half` stores it, and so all that is tuned from it, in 16 bits: half the size in a repository.

    The same seed and library versions give the same bytes; torch's global random state is left as it was.
    """
    tokenizer = build_tokenizer()
    token_ids = {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.get_added_vocab()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(_config(len(tokenizer), token_ids))
    model.generation_config = GenerationConfig(
        eos_token_id=[token_ids[END_OF_TURN], token_ids[END_OF_TEXT]], pad_token_id=token_ids[END_OF_TEXT]
    )
    parameters: int = sum(parameter.numel() for parameter in model.parameters())
    with no_progress_bar():
        (model.half() if half else model).eval().save_pretrained(folder)
    _processor(tokenizer).save_pretrained(folder)
    return parameters


def _config(vocabulary: int, token_ids: dict[str, int]) -> Qwen2_5_VLConfig:
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": None,
            "eos_token_id": token_ids[END_OF_TURN],
            "pad_token_id": token_ids[END_OF_TEXT],
        },
        vision_config={
            "depth": 4,
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_heads": 4,
            "out_hidden_size": 192,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
            "window_size": SIDE_PX,
            "fullatt_block_indexes": [3],
        },
        image_token_id=token_ids["<|image_pad|>"],
        video_token_id=token_ids["<|video_pad|>"],
        vision_start_token_id=token_ids["<|vision_start|>"],
        vision_end_token_id=token_ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def _processor(tokenizer: object) -> Qwen2_5_VLProcessor:
    smallest_px = (2 * PATCH_PX * MERGE) ** 2
    size = {"shortest_edge": smallest_px, "longest_edge": SIDE_PX**2}  # areas, whatever the keys say
    patches = {"patch_size": PATCH_PX, "merge_size": MERGE}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size, **patches),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=size, **patches),
        chat_template=CHAT_TEMPLATE,
    )
