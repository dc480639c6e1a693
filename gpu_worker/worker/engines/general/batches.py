"""How the inputs of a job are divided into passes through the model; pure."""

from __future__ import annotations

from collections.abc import Sequence


def plan(lengths: Sequence[int], *, tokens_max: int) -> list[list[int]]:
    """Divide inputs into batches, longest first, by the tokens that each batch has once it is padded.

    The budget is in tokens because memory is: a count of inputs that fits short texts does not fit long ones. Inputs
    of like length go together, so that little of a batch is padding.

    Returns:
        Batches of indexes; each index is in one of them. An input over the budget has a batch of its own.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True):
        # The first of a batch is its longest, so it says how wide the batch is.
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= tokens_max:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
