"""The addresses are those that RunPod's SDK makes of the same environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import pytest

from worker.errors import SettingsError
from worker.queue.link.address import Address

ENV = {
    "RUNPOD_WEBHOOK_GET_JOB": "https://api.example/v2/abc/job-take/$ID?gpu=NVIDIA+L4&v=1",
    "RUNPOD_WEBHOOK_POST_OUTPUT": "https://api.example/v2/abc/job-done/$RUNPOD_POD_ID/$ID?gpu=NVIDIA+L4",
    "RUNPOD_WEBHOOK_POST_STREAM": "https://api.example/v2/abc/job-stream/$RUNPOD_POD_ID/$ID?gpu=NVIDIA+L4",
    "RUNPOD_WEBHOOK_PING": "https://api.example/v2/abc/ping/$RUNPOD_POD_ID?gpu=NVIDIA+L4",
    "RUNPOD_POD_ID": "pod-1",
    "RUNPOD_AI_API_KEY": "a-key",
}
_ASK_THE_SDK = """
import json
from runpod.serverless.modules import rp_http, rp_job, rp_ping
from runpod.version import __version__
rp_job.job_progress.add("job-1")
print(json.dumps({
    "take": [rp_job._job_get_url(1), rp_job._job_get_url(5)],
    "stop": rp_job._job_stop_url(),
    "done": rp_http.JOB_DONE_URL.replace("$ID", "job-1") + "&isStream=false",
    "stream": rp_http.JOB_STREAM_URL.replace("$ID", "job-1") + "&isStream=false",
    "ping": rp_ping.Heartbeat().PING_URL,
    "version": __version__,
}))
"""


def test_they_are_those_of_the_sdk() -> None:
    """Its source is the only documentation, so a new version of it is asked here."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    said = subprocess.run(
        [sys.executable, "-c", _ASK_THE_SDK], env={**kept, **ENV}, check=True, capture_output=True, timeout=60
    )
    sdk = json.loads(said.stdout.splitlines()[-1])
    address = Address.from_env(ENV)
    ping = address.ping(["job-1", "job-2"])

    assert [address.take(count, is_busy=True) for count in (1, 5)] == sdk["take"]
    assert (address.stop(), address.done("job-1"), address.stream("job-1")) == (
        sdk["stop"],
        sdk["done"],
        sdk["stream"],
    )
    assert ping.startswith(sdk["ping"])
    assert parse_qs(urlsplit(ping).query) == {
        "gpu": ["NVIDIA L4"],
        "job_id": ["job-1,job-2"],
        "runpod_version": [sdk["version"]],
    }


def test_an_idle_ping_names_no_job() -> None:
    assert "job_id" not in Address.from_env(ENV).ping([])


def test_a_worker_without_an_id_has_one_of_its_own() -> None:
    address = Address.from_env({**ENV, "RUNPOD_POD_ID": ""}, make_id=lambda: "made-up")

    assert "/job-take/made-up?" in address.take(1, is_busy=False)


@pytest.mark.parametrize("name", ["RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_WEBHOOK_POST_OUTPUT"])
def test_an_address_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Address.from_env({**ENV, name: ""})


def test_the_key_shows_in_no_log() -> None:
    assert "a-key" not in repr(Address.from_env(ENV))
