"""What a model runs on: the choices, made over a described machine. Pure: `machine` describes the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from worker.errors import ModelError, NoDeviceError
from worker.hardware.need import Need, gib
from worker.settings import Attention, DeviceMap, Dtype, Hardware

_HALVES = (Dtype.BFLOAT16, Dtype.FLOAT16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device, as it is at start."""

    name: str
    """As torch calls it: `cuda:0`, `mps`, `cpu`."""
    title: str
    """What its maker calls it."""
    total_bytes: int
    free_bytes: int
    """What this process may still have of its memory."""
    bfloat16: bool
    """Whether it computes with bfloat16 itself, and does not imitate it."""

    @property
    def kind(self) -> str:
        """Return `cuda`, `mps` or `cpu`."""
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the weights go."""

    device: Device
    """Where they are, or where the first of several devices' share is."""
    device_map: str = ""
    """How `accelerate` lays them out over several devices; nothing where all are on one."""
    max_memory: Mapping[int | str, int] | None = None
    """The bytes of weights that each of several devices may take, by the names that `accelerate` has for them."""


def choose_device(devices: Sequence[Device], asked: str) -> Device:
    """Return the device to compute on: the emptiest CUDA card, else MPS, else the CPU, unless one is asked for.

    Raises:
        NoDeviceError: what is asked for is not there.
    """
    kinds = ("cuda", "mps", "cpu") if asked == "auto" else (asked,)
    for kind in kinds:
        # `cuda:1` is one card, `cuda` any.
        there = [device for device in devices if kind in (device.name, device.kind)]
        if there:
            return max(there, key=lambda device: device.free_bytes)
    raise NoDeviceError(f"DEVICE={asked}: this machine has {', '.join(describe(device) for device in devices)}")


def describe(device: Device) -> str:
    """Return a device's name and memory, for people."""
    return f"{device.name} ({device.title}, {gib(device.free_bytes)} free of {gib(device.total_bytes)})"


def choose_dtype(  # noqa: PLR0911  # a table
    device: Device, asked: Dtype, *, faster_in_bfloat16: Callable[[], bool]
) -> tuple[Dtype, str]:
    """Return the numbers to compute with, and why.

    Args:
        device: to compute on.
        asked: by the owner.
        faster_in_bfloat16: tries it out on this CPU with the model's sizes; asked only where it may be so.
    """
    if asked is not Dtype.AUTO:
        return asked, f"DTYPE={asked}"
    match device.kind:
        case "cuda" if device.bfloat16:
            return Dtype.BFLOAT16, "the card computes with bfloat16"
        case "cuda":
            return Dtype.FLOAT16, "the card has no bfloat16 of its own"
        case "mps":
            return Dtype.FLOAT16, "MPS is fastest with float16"
    if not device.bfloat16:
        return Dtype.FLOAT32, "the processor has no bfloat16"
    if faster_in_bfloat16():
        return Dtype.BFLOAT16, "the processor is faster with bfloat16 at this model's sizes"
    return Dtype.FLOAT32, "the processor is no faster with bfloat16 at this model's sizes"


def check_attention(asked: Attention, device: Device, dtype: Dtype, *, has_flash: bool) -> None:
    """Refuse an attention kernel that cannot run here.

    Raises:
        ModelError: it is asked for, and it cannot.
    """
    if asked is not Attention.FLASH:
        return
    if device.kind != "cuda" or dtype not in _HALVES:
        raise ModelError(
            f"ATTENTION={asked} runs on CUDA in bfloat16 or float16, and this is {device.name} in {dtype}; "
            "choose ATTENTION=sdpa"
        )
    if not has_flash:
        raise ModelError(f"ATTENTION={asked} needs the package flash-attn; install it, or choose ATTENTION=sdpa")


def choose_place(devices: Sequence[Device], chosen: Device, hardware: Hardware, need: Need) -> Place:
    """Return where a model goes: onto the chosen device if it fits, else over several as far as the owner lets it.

    Raises:
        ModelError: it fits nowhere; the message is the sum.
    """
    cards = [device for device in devices if device.kind == "cuda"]
    spread = chosen.kind == "cuda" and ":" not in hardware.device and hardware.device_map is not DeviceMap.NONE
    if spread and hardware.device_map is DeviceMap.BALANCED and len(cards) > 1 and need.total_bytes <= _free(cards):
        return _over(cards, chosen, need, device_map=DeviceMap.BALANCED)
    if need.total_bytes <= chosen.free_bytes:
        return Place(device=chosen)
    taken = cards if spread else [chosen]
    if len(taken) > 1 and need.total_bytes <= _free(taken):
        return _over(taken, chosen, need, device_map=DeviceMap.AUTO)
    if hardware.offload and chosen.kind == "cuda":
        taken = [*taken, *(device for device in devices if device.kind == "cpu")]
        if need.total_bytes <= _free(taken):
            return _over(taken, chosen, need, device_map=DeviceMap.AUTO)
    there = " and ".join(f"{device.name} has {gib(device.free_bytes)} free" for device in taken)
    raise ModelError(f"the model does not fit: it {need}, and {there}; choose {need.advice}")


def _free(devices: Sequence[Device]) -> int:
    return sum(device.free_bytes for device in devices)


def _over(devices: Sequence[Device], chosen: Device, need: Need, *, device_map: DeviceMap) -> Place:
    """Lay a model over devices, and leave each its share of what is not weights."""
    beside = need.total_bytes - need.weights_bytes
    free = _free(devices)
    shares = {_key(device): device.free_bytes - beside * device.free_bytes // free for device in devices}
    return Place(device=chosen, device_map=device_map, max_memory=shares)


def _key(device: Device) -> int | str:
    """Return what `accelerate` calls a device: a card is its number."""
    return int(device.name.partition(":")[2]) if device.kind == "cuda" else device.name
