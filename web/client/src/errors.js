// Every way in which a call fails, as one class: `code` is one of Firebase's, without its prefix.

/** Codes after which the same request may go through, because it was not taken. */
const NOT_TAKEN = new Set(["unavailable", "aborted"]);
/** What the Firebase SDK throws when no answer came: the gate's own errors of these codes are final. */
const NO_ANSWER = new Set(["internal", "deadline-exceeded"]);

export class TwohopError extends Error {
  constructor(code, message, { details = null, cause } = {}) {
    super(message, { cause });
    this.name = "TwohopError";
    this.code = code;
    this.details = details;
  }

  /** Seconds after which asking again may help; null if nobody knows. */
  get retryAfterSeconds() {
    return this.details?.retry_after_seconds ?? null;
  }

  /** The limit that is reached, for example `requests_per_minute`; null if it is another error. */
  get limit() {
    return this.code === "resource-exhausted" ? (this.details?.limit ?? null) : null;
  }

  get retryable() {
    const unanswered = NO_ANSWER.has(this.code) && this.message === this.code;
    return NOT_TAKEN.has(this.code) || unanswered;
  }

  /** Make one of whatever the Firebase SDK threw. */
  static from(error) {
    if (error instanceof TwohopError) return error;
    if (error?.name === "AbortError") return new TwohopError("cancelled", "The call was left.", { cause: error });
    const code = typeof error?.code === "string" ? error.code.replace(/^functions\//, "") : "internal";
    const message = String(error?.message ?? error).replace(/ \[\d+\]$/, "");
    return new TwohopError(code, message, { details: error?.details ?? null, cause: error });
  }

  /** Make one of the error that a job carries: `{status, message}`. */
  static ofJob({ status, message }, jobId) {
    return new TwohopError(status.toLowerCase().replaceAll("_", "-"), message, { details: { job_id: jobId } });
  }
}
