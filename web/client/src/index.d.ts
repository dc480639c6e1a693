import type { FirebaseApp } from "firebase/app";
import type { Auth } from "firebase/auth";
import type { Firestore } from "firebase/firestore";
import type { Functions } from "firebase/functions";

/** What a model's task takes: a text, a list of texts or objects, or an object. */
export type Inputs = string | readonly unknown[] | { readonly [name: string]: unknown };

export interface AskOptions {
  /** Of the task; the gate's README lists them. */
  parameters?: Record<string, unknown>;
  /** The model's name; the gate's own if left out. */
  model?: string;
  /** The same key with the same payload is the same request, counted once; random if left out. */
  idempotencyKey?: string;
  /** Stops waiting; a stream's job is stopped at the provider too. */
  signal?: AbortSignal;
}

export interface Usage {
  held_microdollars: number;
  /** What it cost, once it has ended. */
  settled_microdollars?: number;
  gpu_seconds?: number;
  useful_seconds?: number | null;
  start_seconds?: number | null;
  idle_seconds?: number | null;
}

export type JobState = "held" | "running" | "settled" | "released" | "expired";

export interface Job<Outputs = unknown> {
  job_id: string;
  state: JobState;
  usage: Usage;
  /** Once it has ended well. */
  outputs?: Outputs;
  /** Where the outputs are, if they are too large for a document. */
  result_url?: string;
  /** Once it has failed. */
  error?: { status: string; message: string };
}

export interface Left {
  limit: number;
  remaining: number;
  resets_at: string | null;
}

export interface Answer<Outputs = unknown> extends Job<Outputs> {
  outputs: Outputs;
  /** What is left of each limit, by its name. */
  quota: Record<string, Left>;
  /** Another request started the job; for this one nothing was counted. */
  repeated: boolean;
  /** That was an equal request, and the owner lets answers be given again. */
  cached: boolean;
}

/** What comes before a stream's end: a piece of text, or how far it is. */
export type Part = { text: string } | { progress: { done: number; total: number } };

export type Code =
  | "aborted" | "already-exists" | "cancelled" | "data-loss" | "deadline-exceeded" | "failed-precondition" | "internal"
  | "invalid-argument" | "not-found" | "out-of-range" | "permission-denied" | "resource-exhausted" | "unauthenticated"
  | "unavailable" | "unimplemented" | "unknown";

export declare class TwohopError extends Error {
  readonly code: Code;
  readonly details: Record<string, unknown> | null;
  /** Seconds after which asking again may help; null if nobody knows. */
  readonly retryAfterSeconds: number | null;
  /** The limit that is reached; null if it is another error. */
  readonly limit: string | null;
  /** The same request with the same key may go through. */
  readonly retryable: boolean;
}

/** Where requests are noted that are under way. */
export interface Storage {
  get(key: string): Promise<unknown>;
  set(key: string, value: unknown): Promise<void>;
  remove(key: string): Promise<void>;
  keys(): Promise<string[]>;
}

export interface Settings {
  /** Of `firebase/auth`; in a plugin's service worker, of `firebase/auth/web-extension`. */
  auth: Auth;
  /** To listen to jobs; without it they are asked for. */
  firestore?: Firestore | null;
  /** Instead of the app's own of the region. */
  functions?: Functions;
  region?: string;
  /** Called when nobody is signed in: `() => signInAnonymously(auth)`. Without it that is an error. */
  signIn?: (() => Promise<unknown>) | null;
  /** Outlives this program: `chromeStorage(chrome.storage.session)`. Memory if left out. */
  storage?: Storage;
  /** How often a request is sent at most; 5 if left out. */
  triesMax?: number;
  /** How long one try may take; 250 000 if left out, a little above the gate's own longest wait. */
  timeoutMs?: number;
}

export declare class TwohopClient {
  constructor(app: FirebaseApp, settings: Settings);
  /** Run a request and return its answer, however long it takes: a job that outlives its call is followed. */
  infer<Outputs = unknown>(inputs: Inputs, options?: AskOptions): Promise<Answer<Outputs>>;
  /**
   * Yield what the model writes as it writes it; return the answer. Leaving the iteration stops the job. One that takes
   * longer than its call yields nothing from then on, and is followed to its answer.
   */
  stream<Outputs = unknown>(inputs: Inputs, options?: AskOptions): AsyncGenerator<Part, Answer<Outputs>>;
  /** Let a request run without waiting for it, and return its job. */
  submit(inputs: Inputs, options?: AskOptions): Promise<Job>;
  /** Yield a job each time it changes, the last time when it has ended. */
  watch<Outputs = unknown>(jobId: string, options?: { signal?: AbortSignal }): AsyncGenerator<Job<Outputs>, void>;
  /** Return a job as it ended, with its outputs. Throws what it failed with. */
  result<Outputs = unknown>(jobId: string, options?: { signal?: AbortSignal }): Promise<Job<Outputs>>;
  /** Return a job as it stands. */
  job<Outputs = unknown>(jobId: string): Promise<Job<Outputs>>;
  /** Stop a job, and return it as it then ended. */
  cancel(jobId: string): Promise<Job>;
  /** Return what is left of each limit. It does not count as a use. */
  quota(): Promise<Record<string, Left>>;
  /** Go on with what this program asked for before it died; promises by idempotency key. */
  resume(options?: { signal?: AbortSignal }): Promise<Map<string, Promise<Answer>>>;
}

export declare function memoryStorage(): Storage;
/** A browser plugin's storage area: `chrome.storage.session` or `.local`. */
export declare function chromeStorage(area: {
  get(keys: string | null): Promise<Record<string, unknown>>;
  set(items: Record<string, unknown>): Promise<void>;
  remove(key: string): Promise<void>;
}): Storage;
