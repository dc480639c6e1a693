"""What was measured on: the processor, its matrix units, and how busy it was with others."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")
"""Those that decide how fast which number format is."""
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine, as far as it tells."""

    cores: Sequence[int]
    """Those that this process may use."""
    processor: str
    flags: Sequence[str]
    memory_gib: float | None
    load: float
    """Processes that wanted a core in the last minute, before anything was measured."""
    system: str
    card: str = ""
    """The first graphics card, its memory and its driver; nothing if there is none."""

    @property
    def has_matrix_units(self) -> bool:
        """Tell whether the processor multiplies matrices of bfloat16 in units of their own, many times as fast."""
        return "amx_bf16" in self.flags

    @property
    def server_core(self) -> int | None:
        """Return the core that servers are kept on, if there is another for the clients."""
        return self.cores[0] if len(self.cores) > 1 and sys.platform == "linux" else None

    @property
    def client_core(self) -> int | None:
        """Return the core that the clients are kept on, if there is one to spare."""
        return self.cores[1] if self.server_core is not None else None


def this_machine() -> Machine:
    """Describe the machine that this runs on."""
    linux = sys.platform == "linux"
    cores = sorted(os.sched_getaffinity(0)) if linux else list(range(os.cpu_count() or 1))
    told = _fields(_CPUINFO)
    kib = _fields(_MEMINFO).get("MemTotal", "").removesuffix(" kB")
    return Machine(
        cores=cores,
        processor=told.get("model name") or platform.processor() or platform.machine(),
        flags=[flag for flag in _TELLING_FLAGS if flag in told.get("flags", "").split()],
        memory_gib=int(kib) / 2**20 if kib else None,
        load=os.getloadavg()[0],
        system=f"{platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}",
        card="".join(ask_cards("gpu", ("name", "memory.total", "driver_version"))[:1]),
    )


def ask_cards(what: str, fields: Sequence[str]) -> list[str]:
    """Return what NVIDIA's driver tells, a line of values for each card or process; none where there is no driver.

    Args:
        what: `gpu`, or `compute-apps` for the processes that compute on one.
        fields: by their names in `nvidia-smi --help-query-gpu` or `--help-query-compute-apps`.
    """
    command = ["nvidia-smi", f"--query-{what}={','.join(fields)}", "--format=csv,noheader"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []


@contextmanager
def kept_on(core: int | None) -> Iterator[None]:
    """Keep this process on one core for a while, where that can be asked for."""
    if core is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def drop_caches() -> bool:
    """Make the system forget every file that it holds in memory, and tell whether it did."""
    try:
        os.sync()
        _DROP_CACHES.write_text("3")
    except OSError:
        return False
    return True


def _fields(path: Path) -> dict[str, str]:
    """Return the first value of each name in a file of `name: value` lines; none where there is no such file."""
    fields: dict[str, str] = {}
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    return fields
