// Every export of twohop-client, used as its README says, and used wrongly: a line below "@ts-expect-error" must not
// compile, and one that does is an error of its own.
import type { FirebaseApp } from "firebase/app";
import type { Auth } from "firebase/auth";
import type { Firestore } from "firebase/firestore";
import type { Functions } from "firebase/functions";
import { TwohopClient, TwohopError, chromeStorage, memoryStorage } from "twohop-client";
import type { Answer, AskOptions, Code, Inputs, Job, JobState, Left, Part, Settings, Storage, Usage } from "twohop-client";

declare const app: FirebaseApp;
declare const auth: Auth;
declare const firestore: Firestore;
declare const functions: Functions;
declare const area: { get(keys: string | null): Promise<Record<string, unknown>>; set(items: Record<string, unknown>): Promise<void>; remove(key: string): Promise<void> };

type Vectors = number[][];
const storage: Storage = chromeStorage(area);
const settings: Settings = { auth, firestore, functions, region: "europe-west1", signIn: async () => 0, storage, triesMax: 3, timeoutMs: 60_000 };
const twohop = new TwohopClient(app, settings);
new TwohopClient(app, { auth, signIn: null, firestore: null, storage: memoryStorage() });

const inputs: Inputs[] = ["a text", ["two", "texts"], { query: "a", texts: ["b"] }, [{ role: "user", content: "hi" }]];
const options: AskOptions = { parameters: { normalize: true }, model: "m", idempotencyKey: "k", signal: new AbortController().signal };

export async function uses(): Promise<void> {
  const answer: Answer<Vectors> = await twohop.infer<Vectors>(inputs[0]!, options);
  const first: number = answer.outputs[0]![0]!;
  const usage: Usage = answer.usage;
  const left: Left | undefined = answer.quota["requests_per_day"];
  const flags: boolean[] = [answer.repeated, answer.cached];
  const paid: number | undefined = usage.settled_microdollars;

  const stream = twohop.stream("once upon", options);
  for (let step = await stream.next(); ; step = await stream.next()) {
    if (step.done) {
      const whole: Answer = step.value;
      void whole;
      break;
    }
    const part: Part = step.value;
    const piece: string | number = "text" in part ? part.text : part.progress.done;
    void piece;
  }

  const submitted: Job = await twohop.submit("a text");
  for await (const job of twohop.watch<Vectors>(submitted.job_id, { signal: options.signal })) {
    const state: JobState = job.state;
    const outputs: Vectors | undefined = job.outputs;
    void [state, outputs];
  }
  const ended: (Job<Vectors> | Job)[] = [
    await twohop.result<Vectors>(submitted.job_id),
    await twohop.job<Vectors>(submitted.job_id),
    await twohop.cancel(submitted.job_id),
  ];
  const quota: Record<string, Left> = await twohop.quota();
  const resumed: Map<string, Promise<Answer>> = await twohop.resume();
  void [first, left, flags, paid, ended, quota, resumed];

  try {
    await twohop.infer("a text");
  } catch (error) {
    if (error instanceof TwohopError) {
      const code: Code = error.code;
      const seconds: number | null = error.retryAfterSeconds;
      const limit: string | null = error.limit;
      const again: boolean = error.retryable;
      void [code, seconds, limit, again, error.details?.["limit_value"], error.message];
      // @ts-expect-error a code that there is not
      void (error.code === "not-a-code");
      // @ts-expect-error an error is for reading
      error.code = "internal";
    }
  }
}

export async function misuses(): Promise<void> {
  // @ts-expect-error nobody is signed in without `auth`
  new TwohopClient(app, {});
  // @ts-expect-error a setting that there is not
  new TwohopClient(app, { auth, retries: 3 });
  // @ts-expect-error a model takes no number
  await twohop.infer(1);
  // @ts-expect-error the option is idempotencyKey
  await twohop.infer("a text", { idempotency_key: "k" });
  // @ts-expect-error outputs are unknown until the caller says what they are
  (await twohop.infer("a text")).outputs.length;
  // @ts-expect-error a job may have none yet
  (await twohop.job<Vectors>("id")).outputs.length;
  // @ts-expect-error a part is a piece of text or a progress
  for await (const part of twohop.stream("a text")) part.text.length;
  // @ts-expect-error a job is watched by its id
  twohop.watch({ job_id: "id" });
  // @ts-expect-error what is left is a number
  const remaining: string = (await twohop.quota())["requests_per_day"]!.remaining;
  void remaining;
}
