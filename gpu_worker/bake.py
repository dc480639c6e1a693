"""Puts a model's files into a folder while the image is built, and proves that this worker can serve them.

    python gpu_worker/bake.py MODEL FOLDER

MODEL is a hub id, or all-MiniLM-L6-v2 for the weights of the installed package. A model that could not be served
fails the build here, and not each start of each worker.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

# The gate's wire.py lies beside this folder, in the repository and in the image alike.
sys.path.append(str(Path(__file__).resolve().parent.parent / "functions"))

from worker.clock import SystemClock
from worker.engines import open_engine
from worker.engines.early.relay import RelayEngine
from worker.errors import WorkerError
from worker.folder import find_folder
from worker.log import EventLog
from worker.settings import PACKAGED_MODEL, Settings
from worker.start import start

_NO_SECRET = "-" * 64
"""Baking answers nobody, and an image holds no secret."""


def bake(model: str, folder: Path) -> None:
    """Copy a model into a folder, and run a text through it.

    Raises:
        WorkerError: there is no such model, or it cannot be served rightly.
    """
    named = {} if model == PACKAGED_MODEL else {"MODEL": model}
    found = find_folder(Settings.from_env({"WORKER_SECRET": _NO_SECRET, **named}).model)
    shutil.copytree(found, folder)
    early = {"EARLY": os.environ.get("EARLY", "on")}
    settings = Settings.from_env({"WORKER_SECRET": _NO_SECRET, "MODEL": str(folder), **early})
    clock = SystemClock()
    engine, _ = start(lambda: open_engine(settings), log=EventLog(), clock=clock, began_ms=clock.monotonic_ms())
    if isinstance(engine, RelayEngine):
        engine.check()


if __name__ == "__main__":
    try:
        bake(sys.argv[1], Path(sys.argv[2]))
    except WorkerError as exc:
        sys.exit(f"the model is not baked: {exc}")
