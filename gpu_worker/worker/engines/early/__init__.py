"""The first answers of a start: computed by numpy while torch, which takes seconds to import, is still on its way.

`early.encoder` runs the BERT family in float32 on the CPU, `early.embeddings` makes vectors of it behind the engine
port, and `early.relay` hands over to the engine that serves from then on, once that is warm.
"""
