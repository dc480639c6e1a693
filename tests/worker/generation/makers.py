"""Small random models that write, and a byte-level tokenizer that can write any text in halves of characters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.worker.makers import SECRET
from worker.engines import open_engine
from worker.settings import Settings

TEXTS = ["once upon a time there was a fox", "žluťoučký kůň úpěl 🐎", "the end of the story was a long one"]
TEMPLATE = (
    "{% for m in messages %}"
    "{% if m.role == 'system' and loop.index0 > 0 %}{{ raise_exception('system comes first') }}{% endif %}"
    "<s>{{ m.role }}: {{ m.content }}{% endfor %}{% if add_generation_prompt %}<s>assistant:{% endif %}"
)
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}

DECODERS: dict[str, dict[str, Any]] = {
    "Llama": {**SMALL, "num_key_value_heads": 2, "max_position_embeddings": 128},
    "Qwen2": {**SMALL, "num_key_value_heads": 2, "max_position_embeddings": 128},
    "Mistral": {**SMALL, "num_key_value_heads": 2, "max_position_embeddings": 128, "sliding_window": 8},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "Lfm2": {
        **SMALL,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "layer_types": ["conv", "full_attention"],
    },
}
_HEADS = {"GPT2": "GPT2LMHeadModel"}
_ENDLESS = 16_000


def make_decoder(folder: Path, kind: str, *, chat: bool = False, **config: Any) -> Path:
    """Save a random model of a kind; two of the same arguments are the same."""
    import torch
    import transformers

    torch.manual_seed(5)
    tokenizer = save_tokenizer(folder, chat=chat)
    made = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer),
        **{
            "initializer_range": 0.6,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 2,
            **DECODERS[kind],
            **config,
        },
    )
    model = getattr(transformers, _HEADS.get(kind, f"{kind}ForCausalLM"))(made)
    model.save_pretrained(folder)
    return folder


def make_endless_writer(folder: Path) -> Path:
    """Save a Llama that writes until somebody stops it."""
    make_decoder(folder, "Llama", max_position_embeddings=_ENDLESS, eos_token_id=None)
    tokenizer = folder / "tokenizer_config.json"
    said = json.loads(tokenizer.read_text("utf-8"))
    tokenizer.write_text(json.dumps({**said, "model_max_length": _ENDLESS}), "utf-8")
    return folder


def make_seq2seq(folder: Path, kind: str, **config: Any) -> Path:
    """Save a random T5, Bart or Marian."""
    import torch
    import transformers

    torch.manual_seed(5)
    tokenizer = save_tokenizer(folder)
    t5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "initializer_factor": 4.0}
    bart = {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_position_embeddings": 64,
        "init_std": 0.6,
    }
    sizes, head = (t5, "ForConditionalGeneration") if kind == "T5" else (bart, "ForConditionalGeneration")
    made = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer),
        pad_token_id=2,
        eos_token_id=1,
        bos_token_id=0,
        decoder_start_token_id=2,
        **{**sizes, **config},
    )
    name = "MarianMTModel" if kind == "Marian" else f"{kind}{head}"
    getattr(transformers, name)(made).save_pretrained(folder)
    return folder


def make_translator(folder: Path) -> Path:
    """Save a random model of many languages, with the tokenizer of NLLB."""
    import torch
    import transformers

    torch.manual_seed(5)
    letters = sorted({letter for text in TEXTS for letter in text.replace(" ", "▁")})
    vocabulary = {name: index for index, name in enumerate(["<s>", "<pad>", "</s>", "<unk>", *letters])}
    tokenizer = transformers.NllbTokenizer(vocab=vocabulary, merges=[], src_lang="eng_Latn", tgt_lang="fra_Latn")
    tokenizer.save_pretrained(folder)
    sides = {
        f"{side}_{name}": size
        for side in ("encoder", "decoder")
        for name, size in {"layers": 2, "attention_heads": 4, "ffn_dim": 64}.items()
    }
    made = transformers.M2M100Config(
        vocab_size=len(tokenizer),
        d_model=32,
        max_position_embeddings=64,
        init_std=0.6,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        **sides,
    )
    transformers.M2M100ForConditionalGeneration(made).save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path, *, chat: bool = False) -> Any:
    import tokenizers
    import transformers

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=64
    )
    if chat:
        tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


def load(folder: Path, **env: str) -> Any:
    """Return a folder's engine, ready to answer."""
    engine = open_engine(
        Settings.from_env({"WORKER_SECRET": SECRET, "MODEL": str(folder), "DTYPE": "float32", **env})
    )
    engine.import_libraries()
    engine.load()
    return engine


def reference(folder: Path, prompt: str, *, new_tokens: int, **options: Any) -> list[int]:
    """Return what plain transformers writes to a prompt, one by one and likeliest first."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    encoded = tokenizer(prompt, return_tensors="pt")
    with torch.inference_mode():
        written = model.generate(
            encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            do_sample=False,
            max_new_tokens=new_tokens,
            **options,
        )
    ids: list[int] = written[0, encoded["input_ids"].shape[1] :].tolist()
    return ids
