// `TwohopClient`: what an app calls. It keeps the rules that each app would else have to learn by itself: sign in first,
// one idempotency key for all tries of a request, wait as long as the gate does, and follow a job that outlives its call.

import { getFunctions, httpsCallable } from "firebase/functions";
import { TwohopError } from "./errors.js";
import { memoryStorage, Pending } from "./pending.js";
import { withRetries } from "./retry.js";
import { asked, isOver, listened } from "./watching.js";

/** A little above the longest that a call may be held open, 240 s, so that it is the gate that ends it. */
const TIMEOUT_MS = 250_000;
const TRIES_MAX = 5;

export class TwohopClient {
  constructor(app, { auth, firestore = null, functions, region = "us-central1", signIn = null, ...rest }) {
    this._auth = auth;
    this._firestore = firestore;
    this._functions = functions ?? getFunctions(app, region);
    this._signIn = signIn;
    this._triesMax = rest.triesMax ?? TRIES_MAX;
    this._timeoutMs = rest.timeoutMs ?? TIMEOUT_MS;
    this._pending = new Pending(rest.storage ?? memoryStorage());
  }

  /** Run a request and return its answer, however long it takes. */
  async infer(inputs, options = {}) {
    return await this._ask("infer", requestOf(inputs, options), options);
  }

  /** Yield what the model writes as it writes it; return the answer, however long it takes. */
  async *stream(inputs, options = {}) {
    await this._signedIn();
    const leaving = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, leaving.signal]) : leaving.signal;
    const request = requestOf(inputs, options);
    try {
      const { first, parts, data } = await this._withFreshToken(() => this._opened(request, signal));
      for (let step = first; !step.done; step = await parts.next()) yield step.value;
      return await this._ended(await data, options.signal);
    } catch (error) {
      throw TwohopError.from(error);
    } finally {
      leaving.abort(); // Who leaves the iteration early stops the job; after its end there is nothing to stop.
    }
  }

  /** Let a request run without waiting for it, and return its job. */
  async submit(inputs, options = {}) {
    const request = requestOf(inputs, options);
    return await this._call("submit", request, options);
  }

  /** Yield a job each time it changes, the last time when it has ended. */
  async *watch(jobId, { signal } = {}) {
    await this._signedIn();
    const steps = this._firestore ? listened(this._firestore, jobId, signal) : asked(() => this.job(jobId), signal);
    try {
      yield* steps;
    } catch (error) {
      throw TwohopError.from(error);
    }
  }

  /** Return a job as it ended, with its outputs. */
  async result(jobId, { signal } = {}) {
    let last = null;
    for await (const job of this.watch(jobId, { signal })) last = job;
    if (last.error) throw TwohopError.ofJob(last.error, jobId);
    return last.result_url ? { ...last, outputs: await fetched(last.result_url, signal) } : last;
  }

  /** Return a job as it stands. */
  async job(jobId) {
    return await this._call("job", { job_id: jobId });
  }

  /** Stop a job, and return it as it then ended. */
  async cancel(jobId) {
    return await this._call("cancel", { job_id: jobId });
  }

  /** Return what is left of each limit. It does not count as a use. */
  async quota() {
    return (await this._call("quota", null)).quota;
  }

  /**
   * Go on with what this program asked for before it died, and return a promise by idempotency key. What ran on
   * meanwhile is joined, what has ended is answered, and nothing is counted twice.
   */
  async resume(options = {}) {
    const found = await this._pending.all();
    return new Map(found.map(([key, request]) => [key, this._ask("infer", request, options)]));
  }

  async _ask(name, request, { signal } = {}) {
    const key = request.idempotency_key;
    await this._pending.add(key, request);
    try {
      const ended = await this._ended(await this._call(name, request, { signal }), signal);
      await this._pending.remove(key);
      return ended;
    } catch (error) {
      // What may still be running stays noted; what was refused or has failed does not.
      if (!error.retryable) await this._pending.remove(key);
      throw error;
    }
  }

  /** An answer of a job that goes on, or whose outputs are elsewhere, is seen through to its end. */
  async _ended(answer, signal) {
    if (isOver(answer) && !answer.result_url) return answer;
    return { ...answer, ...(await this.result(answer.job_id, { signal })) };
  }

  /** Open a stream up to its first part, or to what it is refused with. */
  async _opened(request, signal) {
    try {
      const { stream, data } = await httpsCallable(this._functions, "infer").stream(request, { signal });
      data.catch(() => {}); // It fails with what the stream fails with, and Node.js ends for what nobody catches.
      const parts = stream[Symbol.asyncIterator]();
      return { first: await parts.next(), parts, data };
    } catch (error) {
      throw TwohopError.from(error);
    }
  }

  async _call(name, data, { signal } = {}) {
    const callable = httpsCallable(this._functions, name, { timeout: this._timeoutMs });
    const once = async () => {
      await this._signedIn();
      try {
        return (await abortable(callable(data), signal)).data;
      } catch (error) {
        throw TwohopError.from(error);
      }
    };
    return await withRetries(() => this._withFreshToken(once), { triesMax: this._triesMax, signal });
  }

  /** A token that expired while the computer slept is refused once, and renewed. */
  async _withFreshToken(call) {
    try {
      return await call();
    } catch (error) {
      if (error.code !== "unauthenticated" || !this._auth.currentUser) throw error;
      await this._auth.currentUser.getIdToken(true);
      return await call();
    }
  }

  async _signedIn() {
    await this._auth.authStateReady();
    if (this._auth.currentUser) return;
    if (!this._signIn) throw new TwohopError("unauthenticated", "Nobody is signed in. Sign in first, or give `signIn`.");
    await this._signIn();
  }
}

function requestOf(inputs, { parameters, model, idempotencyKey = crypto.randomUUID() }) {
  const request = { inputs, idempotency_key: idempotencyKey };
  if (parameters !== undefined) request.parameters = parameters;
  if (model !== undefined) request.model = model;
  return request;
}

/** The SDK's calls cannot be left; who leaves one stops waiting for it. */
function abortable(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const left = () => reject(new DOMException("The call was left.", "AbortError"));
    if (signal.aborted) left();
    signal.addEventListener("abort", left, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", left));
  });
}

async function fetched(url, signal) {
  try {
    const answer = await fetch(url, { signal });
    if (!answer.ok) throw new TwohopError("not-found", `The answer cannot be fetched: HTTP ${answer.status}`);
    return await answer.json();
  } catch (error) {
    throw TwohopError.from(error);
  }
}
