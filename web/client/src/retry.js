// Trying again, with the same idempotency key: however often it is sent, it runs and is counted once.

const PAUSE_SECONDS_FIRST = 0.5;
const PAUSE_SECONDS_MAX = 8;
/** A pause that is told and is longer than this is the caller's to wait for: a day's limit, for example. */
const TOLD_SECONDS_MAX = 30;
const SHORT_LIMITS = ["requests_per_minute", "concurrency", "reads_per_minute"];

/** Call until it goes well, for as long as trying again may help. */
export async function withRetries(call, { triesMax, signal, sleep = pause, random = Math.random }) {
  for (let tried = 1; ; tried++) {
    try {
      return await call();
    } catch (error) {
      const seconds = pauseSeconds(error, tried, random);
      if (tried >= triesMax || seconds === null || signal?.aborted) throw error;
      await sleep(seconds, signal);
    }
  }
}

/** Return how long to wait before another try; null if none would help. */
export function pauseSeconds(error, tried, random) {
  const told = error.retryAfterSeconds;
  const worthIt = error.retryable || SHORT_LIMITS.includes(error.limit);
  if (!worthIt || told > TOLD_SECONDS_MAX) return null;
  const grown = Math.min(PAUSE_SECONDS_FIRST * 2 ** (tried - 1), PAUSE_SECONDS_MAX);
  return Math.max(told ?? 0, grown * (0.5 + random() / 2));
}

/** Wait; a signal that is given up ends it early. */
export function pause(seconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
