"""What a model runs on is chosen rightly on machines that are only described, and refused where it cannot fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from worker.errors import BrokenDeviceError, ModelError, NoDeviceError, OutOfMemoryError
from worker.hardware.choices import Device, check_attention, choose_device, choose_dtype, choose_place
from worker.hardware.failures import device_errors
from worker.hardware.machine import read_cores_max, read_devices, read_host_memory
from worker.hardware.need import Need
from worker.settings import Attention, DeviceMap, Dtype, Hardware

GIB = 1 << 30


def device(name: str, title: str, *, free: int, bfloat16: bool) -> Device:
    return Device(name=name, title=title, total_bytes=free * GIB, free_bytes=free * GIB, bfloat16=bfloat16)


A100 = device("cuda:0", "A100 80GB", free=79, bfloat16=True)
OTHER_A100 = device("cuda:1", "A100 80GB", free=60, bfloat16=True)
T4 = device("cuda:0", "Tesla T4", free=14, bfloat16=False)
MPS = device("mps", "Apple GPU", free=12, bfloat16=False)
AMX = device("cpu", "Xeon with AMX", free=24, bfloat16=True)
PLAIN = device("cpu", "an older Xeon", free=24, bfloat16=False)


@pytest.mark.parametrize(
    ("devices", "asked", "name"),
    [
        ([OTHER_A100, A100, AMX], "auto", "cuda:0"),
        ([MPS, PLAIN], "auto", "mps"),
        ([PLAIN], "auto", "cpu"),
        ([A100, AMX], "cpu", "cpu"),
        ([A100, OTHER_A100, AMX], "cuda:1", "cuda:1"),
        ([OTHER_A100, A100, AMX], "cuda", "cuda:0"),
    ],
    ids=["emptiest card", "mps", "cpu", "told cpu", "told card", "told cuda"],
)
def test_the_best_device_is_taken_or_the_one_that_is_asked_for(devices: list[Device], asked: str, name: str) -> None:
    assert choose_device(devices, asked).name == name


@pytest.mark.parametrize("asked", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(asked: str) -> None:
    with pytest.raises(NoDeviceError, match=rf"DEVICE={asked}: this machine has cpu \(an older Xeon, 24.0 GiB free"):
        choose_device([PLAIN], asked)


@pytest.mark.parametrize(
    ("where", "faster", "dtype"),
    [
        (A100, False, Dtype.BFLOAT16),
        (T4, True, Dtype.FLOAT16),
        (MPS, True, Dtype.FLOAT16),
        (AMX, True, Dtype.BFLOAT16),
        (AMX, False, Dtype.FLOAT32),
        (PLAIN, True, Dtype.FLOAT32),
    ],
    ids=["A100", "T4", "MPS", "AMX", "imitated", "plain CPU"],
)
def test_the_dtype_is_the_hardwares(where: Device, faster: bool, dtype: Dtype) -> None:
    chosen, why = choose_dtype(where, Dtype.AUTO, faster_in_bfloat16=lambda: faster)

    assert chosen is dtype
    assert why


def test_a_dtype_that_is_asked_for_is_not_tried_out() -> None:
    chosen, why = choose_dtype(AMX, Dtype.FLOAT16, faster_in_bfloat16=lambda: pytest.fail("it was tried out"))

    assert (chosen, why) == (Dtype.FLOAT16, "DTYPE=float16")


@pytest.mark.parametrize(
    ("where", "dtype", "has_flash", "reason"),
    [
        (PLAIN, Dtype.FLOAT32, True, "runs on CUDA"),
        (A100, Dtype.FLOAT32, True, "float32"),
        (A100, Dtype.BFLOAT16, False, "flash-attn"),
    ],
    ids=["CPU", "float32", "no package"],
)
def test_flash_attention_is_refused_where_it_cannot_run(
    where: Device, dtype: Dtype, has_flash: bool, reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        check_attention(Attention.FLASH, where, dtype, has_flash=has_flash)


def need(weights: int, beside: int = 0) -> Need:
    return Need(
        weights="7.24 G parameters x 2 bytes (bfloat16)",
        weights_bytes=weights * GIB,
        cache_tokens=4096,
        cache_token_bytes=beside * GIB // 4096,
        advice="QUANTIZATION=4bit",
    )


def test_a_model_that_fits_stays_on_one_card() -> None:
    place = choose_place([A100, OTHER_A100, AMX], A100, Hardware(), need(70, 9))

    assert (place.device, place.device_map) == (A100, "")


@pytest.mark.parametrize("device_map", [DeviceMap.AUTO, DeviceMap.BALANCED])
def test_a_model_over_cards_leaves_each_its_share_of_the_cache(device_map: DeviceMap) -> None:
    place = choose_place([A100, OTHER_A100, AMX], A100, Hardware(device_map=device_map), need(100, 30))

    assert place.device_map == device_map
    assert place.max_memory is not None
    assert list(place.max_memory) == [0, 1]
    assert sum(place.max_memory.values()) == pytest.approx((79 + 60 - 30) * GIB, rel=1e-6)


@pytest.mark.parametrize(
    "hardware",
    [Hardware(device="cuda:0"), Hardware(device_map=DeviceMap.NONE)],
    ids=["told one card", "told one device"],
)
def test_a_model_is_not_laid_over_cards_against_the_owners_word(hardware: Hardware) -> None:
    with pytest.raises(ModelError, match=r"and cuda:0 has 79\.0 GiB free"):
        choose_place([A100, OTHER_A100, AMX], A100, hardware, need(100))


def test_a_model_that_cannot_fit_is_refused_with_the_sum() -> None:
    with pytest.raises(ModelError) as refused:
        choose_place([T4, AMX], T4, Hardware(), need(14, 2))

    assert str(refused.value) == (
        "the model does not fit: it needs 14.0 GiB for 7.24 G parameters x 2 bytes (bfloat16) + 2.0 GiB of cache "
        "(4096 tokens x 524288 bytes) = 16.0 GiB, and cuda:0 has 14.0 GiB free; choose QUANTIZATION=4bit"
    )


def test_the_hosts_memory_is_used_only_if_the_owner_says_so() -> None:
    place = choose_place([T4, AMX], T4, Hardware(offload=True), need(20))

    assert place.max_memory == {0: 14 * GIB, "cpu": 24 * GIB}


def test_this_machine_has_a_cpu_with_memory() -> None:
    cpu = read_devices()[-1]

    assert cpu.name == "cpu"
    assert 0 < cpu.free_bytes <= cpu.total_bytes


def write(root: Path, **files: str) -> Path:
    for name, text in {"proc/meminfo": "MemTotal: 4000 kB\nMemAvailable: 3000 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_control_groups_the_machine_is_the_bound(tmp_path: Path) -> None:
    assert read_host_memory(write(tmp_path)) == (4_096_000, 3_072_000)


@pytest.mark.parametrize("folder", ["", "pods/mine/"], ids=["in a container", "on a host"])
def test_a_control_group_bounds_what_its_process_has(tmp_path: Path, folder: str) -> None:
    """The group's path is the host's in some containers, where its files lie at the mount."""
    there = f"sys/fs/cgroup/{folder}memory"
    files = {
        "proc/self/cgroup": "0::/pods/mine\n",
        f"{there}.max": "2000000\n",
        f"{there}.current": "900000\n",
        f"{there}.stat": "anon 1\ninactive_file 300000\n",
    }

    assert read_host_memory(write(tmp_path, **files)) == (2_000_000, 1_400_000)


def test_an_old_control_group_bounds_as_well_and_no_limit_is_none(tmp_path: Path) -> None:
    mount = "sys/fs/cgroup"
    files = {
        "proc/self/cgroup": "4:memory:/a\n0::/\n",
        f"{mount}/memory.max": "max\n",
        f"{mount}/memory/a/memory.limit_in_bytes": "2000000\n",
        f"{mount}/memory/a/memory.usage_in_bytes": "500000\n",
        f"{mount}/memory/a/memory.stat": "total_inactive_file 0\n",
    }

    assert read_host_memory(write(tmp_path, **files)) == (2_000_000, 1_500_000)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        pytest.param({}, None, id="no groups"),
        pytest.param({"cpu.max": "max 100000\n"}, None, id="no limit"),
        pytest.param({"cpu.max": "200000 100000\n"}, 2, id="two cores"),
        pytest.param({"cpu.max": "150000 100000\n"}, 2, id="one and a half"),
        pytest.param({"cpu.max": "9000000 100000\n"}, None, id="more than there are"),
        pytest.param(
            {"cpu,cpuacct/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            1,
            id="old groups",
        ),
        pytest.param(
            {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            None,
            id="old, no limit",
        ),
    ],
)
def test_a_container_has_the_cores_whose_time_it_is_given(
    tmp_path: Path, files: dict[str, str], cores: int | None
) -> None:
    """It sees all of its host's, and a thread for each of them would stop and wait most of the time."""
    groups = {"proc/self/cgroup": "7:cpu,cpuacct:/mine\n0::/\n"}
    groups |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}

    assert read_cores_max(write(tmp_path, **groups), seen=64) == cores


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.00 GB)"),
        RuntimeError("Invalid buffer size: 30.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=["cuda", "accelerator", "cublas", "mps", "mps buffer", "cpu", "host"],
)
def test_no_memory_is_told_as_such(error: Exception) -> None:
    """A smaller batch may do, so this must not end the process."""
    with pytest.raises(OutOfMemoryError), device_errors():
        raise error


def test_a_broken_device_is_not_taken_for_a_full_one_nor_a_bug_for_a_broken_device() -> None:
    with pytest.raises(BrokenDeviceError), device_errors():
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="shapes"), device_errors():
        raise RuntimeError("shapes do not match")
