"""The worker's own event addresses, made of the environment exactly as RunPod's SDK makes them.

RunPod tells each worker where to take jobs and where to bring results; the SDK's source (1.12.0) is the only
documentation of it. `$ID` is the worker in the address to take from, and the job in those to bring results to.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from worker.errors import SettingsError

TAKE_VARIABLE = "RUNPOD_WEBHOOK_GET_JOB"
_DONE_VARIABLE = "RUNPOD_WEBHOOK_POST_OUTPUT"
_PROTOCOL = "1.12.0"
"""The SDK's version whose calls these are; a ping tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where one worker takes, brings and pings."""

    worker_id: str
    api_key: str = field(repr=False)
    take_url: str
    """With the worker's id in it."""
    done_template: str
    stream_template: str
    """Empty if streams have no address."""
    ping_url: str
    """Empty if nobody listens."""

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, make_id: Callable[[], str] = lambda: str(uuid.uuid4())) -> Address:
        """Read what RunPod sets.

        Raises:
            SettingsError: the addresses to take from or to bring to are missing.
        """
        missing = [name for name in (TAKE_VARIABLE, _DONE_VARIABLE) if not env.get(name)]
        if missing:
            raise SettingsError(
                f"{missing[0]} is not set; RunPod sets it for its workers, and gpu_worker/fake_queue.py for a trial"
            )
        worker_id = env.get("RUNPOD_POD_ID") or make_id()
        return cls(
            worker_id=worker_id,
            api_key=env.get("RUNPOD_AI_API_KEY", ""),
            take_url=env[TAKE_VARIABLE].replace("$ID", worker_id),
            done_template=env[_DONE_VARIABLE],
            stream_template=env.get("RUNPOD_WEBHOOK_POST_STREAM", ""),
            ping_url=env.get("RUNPOD_WEBHOOK_PING", "").replace("$RUNPOD_POD_ID", worker_id),
        )

    def headers(self) -> dict[str, str]:
        """Return what each call carries. The key goes as it is, without a scheme before it."""
        return {"Authorization": self.api_key, "User-Agent": f"twohop-worker (runpod {_PROTOCOL})"}

    def take(self, count: int, *, is_busy: bool) -> str:
        """Return where up to `count` jobs are taken."""
        url = self.take_url
        if count > 1:
            url = f"{url.replace('/job-take/', '/job-take-batch/')}&batch_size={count}"
        return f"{url}&job_in_progress={int(is_busy)}"

    def stop(self) -> str | None:
        """Return where it is told which jobs to stop, or None if that cannot be derived."""
        return self.take_url.replace("/job-take/", "/job-stop/") if "/job-take/" in self.take_url else None

    def done(self, job_id: str, *, worker_id: str | None = None) -> str:
        """Return where a job's result goes; for another worker's job, where that one would have brought it."""
        return _fill(self.done_template, worker_id or self.worker_id, job_id)

    def stream(self, job_id: str) -> str:
        """Return where parts of a job's result go."""
        return _fill(self.stream_template, self.worker_id, job_id)

    def ping(self, job_ids: Iterable[str], **fields: str) -> str:
        """Return what is called to say that the worker lives and has these jobs."""
        named = ",".join(job_ids)
        jobs = {"job_id": named} if named else {}
        joint = "&" if "?" in self.ping_url else "?"
        return f"{self.ping_url}{joint}{urlencode({**jobs, 'runpod_version': _PROTOCOL, **fields})}"


def _fill(template: str, worker_id: str, job_id: str) -> str:
    return f"{template.replace('$RUNPOD_POD_ID', worker_id).replace('$ID', job_id)}&isStream=false"
