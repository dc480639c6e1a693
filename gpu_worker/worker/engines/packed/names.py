"""What each family calls its weights; data, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from worker.engines.packed.shapes import Family


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of an encoder's weights, without the prefix that a head's file puts before them."""

    prefix: str
    layer: str
    """Has the layer's number in it; what follows is within a layer, less `.weight` and `.bias`."""
    query: str
    key: str
    value: str
    attended: str
    """The linear layer after attention."""
    attended_norm: str
    up: str
    down: str
    down_norm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadNames:
    """The two linear layers of a head for sequences."""

    dense: str
    dense_in_encoder: bool
    """Whether the first is a part of the encoder's file, under its prefix."""
    relu: bool
    """What follows the first: relu, or else tanh."""
    out: str


_BERT = {
    "layer": "encoder.layer.{}.",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "attended_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "down_norm": "output.LayerNorm",
}
_MPNET = {
    "query": "attention.attn.q",
    "key": "attention.attn.k",
    "value": "attention.attn.v",
    "attended": "attention.attn.o",
    "attended_norm": "attention.LayerNorm",
}
_DISTILBERT = {
    "layer": "transformer.layer.{}.",
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attended": "attention.out_lin",
    "attended_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "down_norm": "output_layer_norm",
}

WORDS = "embeddings.word_embeddings"
POSITIONS = "embeddings.position_embeddings"
TYPES = "embeddings.token_type_embeddings"
EMBEDDINGS_NORM = "embeddings.LayerNorm"
RELATIVE_BIAS = "encoder.relative_attention_bias"
CLASSIFIER = "classifier"


def encoder_names(family: Family) -> Names:
    """Return what a family calls the weights of its encoder."""
    match family:
        case Family.BERT:
            return Names(prefix="bert.", **_BERT)
        case Family.ROBERTA | Family.XLM_ROBERTA | Family.CAMEMBERT:
            return Names(prefix="roberta.", **_BERT)
        case Family.DISTILBERT:
            return Names(prefix="distilbert.", **_DISTILBERT)
        case Family.MPNET:
            return Names(prefix="mpnet.", **(_BERT | _MPNET))
        case _:
            assert_never(family)


def head_names(family: Family) -> HeadNames:
    """Return what a family calls the weights of its head for sequences."""
    match family:
        case Family.BERT:
            return HeadNames(dense="pooler.dense", dense_in_encoder=True, relu=False, out="classifier")
        case Family.DISTILBERT:
            return HeadNames(dense="pre_classifier", dense_in_encoder=False, relu=True, out="classifier")
        case Family.ROBERTA | Family.XLM_ROBERTA | Family.CAMEMBERT | Family.MPNET:
            return HeadNames(dense="classifier.dense", dense_in_encoder=False, relu=False, out="classifier.out_proj")
        case _:
            assert_never(family)
