"""Packed encoders: the BERT family on the sequences of a batch side by side, with no padding and no `transformers`.

`supports` reads a folder's JSON and imports nothing; ask it first. Then import `packed.opening`, `packed.encoder`,
`packed.heads`, `packed.pooling` and `packed.tokenizer`, which bring torch or tokenizers with them. What this package
does not serve exactly it refuses with `ModelError`, and the caller takes `transformers` instead.
"""

from __future__ import annotations

from worker.engines.packed.shapes import Head, Shape, read_head, read_shape, supports

__all__ = ["Head", "Shape", "read_head", "read_shape", "supports"]
