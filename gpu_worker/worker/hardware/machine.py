"""The machine that this is: its devices, described for `choices`. All that asks a driver is here."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from worker.hardware.choices import Device

_CGROUPS = "sys/fs/cgroup"
_BFLOAT16_CAPABILITY = 8
"""CUDA's compute capability from which cards have bfloat16: Ampere."""


def read_devices() -> list[Device]:
    """Return the devices that torch can use here; the CPU is always one, and the last."""
    return [*_cards(), *_mps(), _cpu()]


def _cards() -> Iterator[Device]:
    import torch  # seconds

    if not torch.cuda.is_available():
        return
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        yield Device(
            name=f"cuda:{index}",
            title=torch.cuda.get_device_name(index),
            total_bytes=total,
            free_bytes=free,
            bfloat16=torch.cuda.get_device_capability(index)[0] >= _BFLOAT16_CAPABILITY,
        )


def _mps() -> Iterator[Device]:
    import torch  # seconds

    if torch.backends.mps.is_available():
        total = torch.mps.recommended_max_memory()
        free = total - torch.mps.driver_allocated_memory()
        yield Device(name="mps", title="Apple GPU", total_bytes=total, free_bytes=free, bfloat16=False)


def _cpu() -> Device:
    total, free = read_host_memory()
    title = platform.processor() or platform.machine()
    return Device(name="cpu", title=title, total_bytes=total, free_bytes=free, bfloat16=_cpu_has_bfloat16())


def _cpu_has_bfloat16() -> bool:
    import torch  # seconds

    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        # A private operator, and not in every build.
        return False


def read_host_memory(root: Path = Path("/")) -> tuple[int, int]:
    """Return the bytes of memory that this process may have in all, and those it may still have.

    They are the least of what the machine has and of what each of the process's control groups allows.

    Args:
        root: where `/proc` and `/sys` are.
    """
    bounds = [_meminfo(root / "proc/meminfo"), *_cgroup_bounds(root)]
    return min(total for total, _ in bounds), max(0, min(free for _, free in bounds))


def _meminfo(path: Path) -> tuple[int, int]:
    try:
        told = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        return tuple(int(told[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))  # type: ignore[return-value]  # two
    except (OSError, KeyError, ValueError):
        # Only Linux tells what is available.
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return total, total


def read_cores_max(root: Path = Path("/"), *, seen: int | None = None) -> int | None:
    """Return how many cores' time this process may use, rounded up; None if that is all that it sees.

    A container that is given the time of two of a host's sixty-four cores still sees all of them.

    Args:
        root: where `/proc` and `/sys` are.
        seen: cores; those that the system tells of if None.
    """
    allowed = min((math.ceil(quota / period) for quota, period in _quotas(root)), default=None)
    seen = seen or os.cpu_count() or 1
    return allowed if allowed is not None and allowed < seen else None


def _quotas(root: Path) -> Iterator[tuple[int, int]]:
    """Yield the time that each bounding group has in a period, of all cores together."""
    for folder, is_new in _cgroups(root, "cpu"):
        try:
            if is_new:
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:
                yield int(quota), int(period)
        except (OSError, ValueError):
            continue  # No such group here, or no limit: the word is `max`.


def _cgroup_bounds(root: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and rest of each group that bounds this process: its own and those above it."""
    new = ("memory.max", "memory.current", "inactive_file")
    old = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    for folder, is_new in _cgroups(root, "memory"):
        names = new if is_new else old
        try:
            limit = int((folder / names[0]).read_text())
            used = int((folder / names[1]).read_text())
            # What was read from files counts as used, and is given back when somebody needs it.
            spare = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            yield limit, limit - used + int(spare.get(names[2], 0))
        except (OSError, ValueError):
            continue  # No such group here, or no limit: the word is `max`.


def _cgroups(root: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """Yield the folder of each group of a controller, and whether it is of the new kind, which has one for all."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / _CGROUPS / controllers
        # In a container the path may be the host's; its own group is then the mount itself.
        for folder in (mount / inside.lstrip("/"), *(mount / inside.lstrip("/")).parents):
            yield folder, not controllers
            if folder == mount:
                break
