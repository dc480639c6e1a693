"""Opening a folder's encoder in the dtype that is fastest here, or in float32 where that is not good enough."""

from __future__ import annotations

from pathlib import Path

import torch

from worker.engines.packed import names
from worker.engines.packed.encoder import PackedEncoder
from worker.engines.packed.probe import COSINE_MIN, choose_dtype, least_cosine
from worker.engines.packed.shapes import read_shape
from worker.engines.packed.weights import Weights
from worker.log import EventLog


def open_encoder(
    folder: Path, *, device: torch.device | str, log: EventLog, dtype: torch.dtype | None = None
) -> PackedEncoder:
    """Load an encoder, choosing its dtype unless one is given, and compare it with float32 before it is used.

    Raises:
        ModelError: as `PackedEncoder.load`.
    """
    shape = read_shape(folder)
    weights = Weights.open(folder, prefix=names.encoder_names(shape.family).prefix)
    chosen = choose_dtype(shape, device) if dtype is None else dtype
    encoder = PackedEncoder.build(shape, weights, chosen, device)
    if chosen is torch.float32:
        log.info("encoder.opened", dtype=str(chosen), device=str(device))
        return encoder
    cosine = least_cosine(encoder, PackedEncoder.build_reference(shape, weights, device))
    if cosine >= COSINE_MIN:
        told = {"cosine_min": round(cosine, 6), "graphs": encoder.has_graphs}
        log.info("encoder.opened", dtype=str(chosen), device=str(device), **told)
        return encoder
    log.warning("encoder.dtype_refused", dtype=str(chosen), device=str(device), cosine_min=round(cosine, 6))
    return PackedEncoder.build(shape, weights, torch.float32, device)
