// Seeing a job through to its end: by listening to its document where there is a Firestore, else by asking.

import { pause } from "./retry.js";

const ASK_SECONDS_FIRST = 1;
const ASK_SECONDS_MAX = 10;

export function isOver(job) {
  return !["held", "running"].includes(job.state);
}

/** Yield a job each time its document changes, the last time when it has ended. */
export async function* listened(firestore, jobId, signal) {
  const { doc, onSnapshot } = await import("firebase/firestore");
  const waiting = [];
  let wake = () => {};
  const tell = (event) => (waiting.push(event), wake());
  const stop = onSnapshot(
    doc(firestore, "jobs", jobId),
    (seen) => seen.exists() && tell({ job: jobOf(seen.data()) }),
    (error) => tell({ error }),
  );
  signal?.addEventListener("abort", () => tell({ error: signal.reason }), { once: true });
  try {
    for (;;) {
      while (waiting.length === 0) await new Promise((resolve) => (wake = resolve));
      const { job, error } = waiting.shift();
      if (error) throw error;
      yield job;
      if (isOver(job)) return;
    }
  } finally {
    stop();
  }
}

/** Yield a job each time that it is asked for and has changed, the last time when it has ended. */
export async function* asked(ask, signal) {
  for (let seconds = ASK_SECONDS_FIRST, last; ; seconds = Math.min(seconds * 1.5, ASK_SECONDS_MAX)) {
    const job = await ask();
    if (job.state !== last) yield job;
    if (isOver(job)) return;
    last = job.state;
    await pause(seconds, signal);
    signal?.throwIfAborted();
  }
}

/** Return a job's document in the shape in which the gate answers with jobs. */
export function jobOf(document) {
  const job = { job_id: document.job_id, state: document.state, usage: usageOf(document) };
  if (document.failure_code) {
    const status = document.failure_code.toUpperCase().replaceAll("-", "_");
    return { ...job, error: { status, message: document.failure ?? "" } };
  }
  if (document.result_url) return { ...job, result_url: document.result_url };
  return document.result === undefined ? job : { ...job, outputs: JSON.parse(document.result) };
}

function usageOf({ state, held_microdollars, settled_microdollars, held_gpu_ms, spent }) {
  if (!isOver({ state })) return { held_microdollars };
  const gpuMs = spent ? spent.execution_ms + (spent.start_ms ?? 0) : held_gpu_ms;
  return { held_microdollars, settled_microdollars, gpu_seconds: gpuMs / 1000 };
}
