// A client of Twohop as an app has it: the unmodified Firebase JS SDK, pointed at the emulators.
//
// It does what it is told, one JSON object a line on standard input: {"do": "call", "as": "ann", ...}. Each `as` is an
// app of its own, so that several people can be signed in at once. It answers each line with {"ok": value} or
// {"error": {code, message, details}}.

import { createInterface } from "node:readline";
import { initializeApp } from "firebase/app";
import {
  connectAuthEmulator,
  createUserWithEmailAndPassword,
  inMemoryPersistence,
  initializeAuth,
  signInAnonymously,
  signInWithEmailAndPassword,
  signOut,
} from "firebase/auth";
import {
  collection,
  connectFirestoreEmulator,
  doc,
  getDoc,
  getDocs,
  getFirestore,
  onSnapshot,
  query,
  setDoc,
  setLogLevel,
  where,
} from "firebase/firestore";
import { connectFunctionsEmulator, getFunctions, httpsCallable } from "firebase/functions";

const { project, region, host, ports } = JSON.parse(process.argv[2]);
const people = new Map();

setLogLevel("silent"); // a refused read is an answer here, not something to warn of

function person(name) {
  if (!people.has(name)) {
    const app = initializeApp({ projectId: project, apiKey: "any" }, name);
    const auth = initializeAuth(app, { persistence: inMemoryPersistence });
    const functions = getFunctions(app, region);
    const firestore = getFirestore(app);
    connectAuthEmulator(auth, `http://${host}:${ports.auth}`, { disableWarnings: true });
    connectFunctionsEmulator(functions, host, ports.functions);
    connectFirestoreEmulator(firestore, host, ports.firestore);
    people.set(name, { auth, functions, firestore });
  }
  return people.get(name);
}

const deeds = {
  signUp: async ({ auth }, { email, password }) => (await createUserWithEmailAndPassword(auth, email, password)).user.uid,
  signIn: async ({ auth }, { email, password }) => (await signInWithEmailAndPassword(auth, email, password)).user.uid,
  signInAnonymously: async ({ auth }) => (await signInAnonymously(auth)).user.uid,
  idToken: async ({ auth }) => await auth.currentUser.getIdToken(),
  signOut: async ({ auth }) => void (await signOut(auth)),
  call: async ({ functions }, { name, data }) => (await httpsCallable(functions, name)(data)).data,
  stream: async ({ functions }, { name, data }) => {
    const { stream, data: last } = await httpsCallable(functions, name).stream(data);
    // A refusal comes out of both, and Node.js ends a program that leaves one of them unhandled.
    const [chunks, result] = await Promise.all([gather(stream), last]);
    return { chunks, result };
  },
  // The same in two: until its first chunk has come, and to its end.
  open: async (somebody, { name, data }) => {
    const { stream, data: last } = await httpsCallable(somebody.functions, name).stream(data);
    last.catch(() => {});
    const chunks = stream[Symbol.asyncIterator]();
    const first = await chunks.next();
    somebody.opened = Promise.all([gather({ [Symbol.asyncIterator]: () => chunks }), last]);
    somebody.opened.catch(() => {});
    return first.value;
  },
  rest: async ({ opened }) => {
    const [chunks, result] = await opened;
    return { chunks, result };
  },
  read: async ({ firestore }, { path }) => (await getDoc(doc(firestore, path))).data() ?? null,
  // What an app shows while a job runs: every state that its document goes through, until `submit`'s promise is kept.
  watch: ({ firestore }, { path, seconds }) =>
    new Promise((resolve, reject) => {
      const states = [];
      const late = setTimeout(() => end(reject, new Error(`still ${states.at(-1)} after ${seconds} s`)), seconds * 1000);
      const stop = onSnapshot(doc(firestore, path), (seen) => tell(seen.data()), (error) => end(reject, error));
      const end = (settle, value) => (clearTimeout(late), stop(), settle(value));
      const tell = (job) => {
        if (job && job.state !== states.at(-1)) states.push(job.state);
        if (job && !["held", "running"].includes(job.state)) end(resolve, { states, job });
      };
    }),
  // A user who reads some chunks and leaves.
  leave: async ({ functions }, { name, data, chunks }) => {
    const leaving = new AbortController();
    const { stream, data: last } = await httpsCallable(functions, name).stream(data, { signal: leaving.signal });
    last.catch(() => {});
    const heard = [];
    try {
      for await (const chunk of stream) if (heard.push(chunk) === chunks) leaving.abort();
    } catch (error) {
      if (!leaving.signal.aborted) throw error;
    }
    return heard;
  },
  list: async ({ firestore }, { path, field, value }) =>
    (await getDocs(query(collection(firestore, path), where(field, "==", value)))).docs.map((each) => each.data()),
  write: async ({ firestore }, { path, data }) => void (await setDoc(doc(firestore, path), data)),
};

async function gather(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

async function answer(line) {
  const { do: deed, as, ...rest } = JSON.parse(line);
  try {
    return { ok: (await deeds[deed](person(as), rest)) ?? null };
  } catch ({ code, message, details }) {
    return { error: { code: code ?? null, message, details: details ?? null } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
}
process.exit(0);
