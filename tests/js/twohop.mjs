// An app that uses twohop-client, as it is published. It does what it is told, one JSON object a line on standard input,
// and answers each line with {"ok": value} or {"error": {code, message, details}}.

import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { initializeApp } from "firebase/app";
import { connectAuthEmulator, inMemoryPersistence, initializeAuth, signInAnonymously } from "firebase/auth";
import { signInWithCustomToken } from "firebase/auth";
import { connectFirestoreEmulator, getFirestore, setLogLevel } from "firebase/firestore";
import { connectFunctionsEmulator, getFunctions } from "firebase/functions";
import { TwohopClient } from "twohop-client";

const { project, region, host, ports, listens, noted, customToken, settings } = JSON.parse(process.argv[2]);
setLogLevel("silent");

const app = initializeApp({ projectId: project, apiKey: "any" });
const auth = initializeAuth(app, { persistence: inMemoryPersistence });
const functions = getFunctions(app, region);
connectAuthEmulator(auth, `http://${host}:${ports.auth}`, { disableWarnings: true });
connectFunctionsEmulator(functions, host, ports.functions);
const firestore = listens ? getFirestore(app) : null;
if (firestore) connectFirestoreEmulator(firestore, host, ports.firestore);

const signIns = { anonymous: () => signInAnonymously(auth), custom: () => signInWithCustomToken(auth, customToken) };
const client = new TwohopClient(app, {
  auth,
  firestore,
  functions,
  signIn: signIns[settings?.signIn ?? "anonymous"] ?? null,
  storage: noted ? fileStorage(noted) : undefined,
  ...settings?.client,
});
const ended = [];

/** What outlives this program, as a plugin's storage outlives its service worker. */
function fileStorage(path) {
  const read = () => { try { return JSON.parse(readFileSync(path, "utf8")); } catch { return {}; } };
  const write = (change) => { const all = read(); change(all); writeFileSync(path, JSON.stringify(all)); };
  return {
    get: async (key) => read()[key],
    set: async (key, value) => write((all) => (all[key] = value)),
    remove: async (key) => write((all) => delete all[key]),
    keys: async () => Object.keys(read()),
  };
}

const deeds = {
  infer: ({ inputs, options }) => client.infer(inputs, options),
  // Asks without waiting; what came of it is told by `begun`.
  begin: ({ inputs, options }) => void client.infer(inputs, options).then((answer) => ended.push(answer), () => {}),
  begun: () => ended,
  stream: async ({ inputs, options, parts = Infinity }) => {
    const heard = [];
    const stream = client.stream(inputs, options);
    for (;;) {
      const { value, done } = await stream.next();
      if (done) return { heard, answer: value };
      if (heard.push(value) >= parts) return (await stream.return(), { heard });
    }
  },
  submit: ({ inputs, options }) => client.submit(inputs, options),
  watch: async ({ jobId }) => {
    const states = [];
    for await (const job of client.watch(jobId)) states.push(job.state);
    return states;
  },
  result: ({ jobId }) => client.result(jobId),
  job: ({ jobId }) => client.job(jobId),
  cancel: ({ jobId }) => client.cancel(jobId),
  quota: () => client.quota(),
  uid: async () => auth.currentUser?.uid ?? null,
  expire: () => void (auth.currentUser.stsTokenManager.accessToken = "expired.in.sleep"),
  resume: async () => Object.fromEntries(await awaited(await client.resume())),
};

async function awaited(promises) {
  return await Promise.all([...promises].map(async ([key, promise]) => [key, await promise]));
}

async function answer(line) {
  const { do: deed, ...rest } = JSON.parse(line);
  try {
    return { ok: (await deeds[deed](rest)) ?? null };
  } catch (error) {
    const { code, message, details, name, limit, retryAfterSeconds, retryable } = error;
    const told = { name, limit, retryAfterSeconds, retryable, ...details };
    return { error: { code: code ?? null, message, details: told } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
}
process.exit(0);
