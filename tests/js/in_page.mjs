// What a page does with the Firebase JS SDK, unmodified: a stream as it comes, a stream that is refused, a stream that
// is left, and a job that is submitted and asked for.
const sdk = "https://www.gstatic.com/firebasejs/12.19.0";
const { initializeApp } = await import(`${sdk}/firebase-app.js`);
const { connectAuthEmulator, inMemoryPersistence, initializeAuth, signInAnonymously } = await import(`${sdk}/firebase-auth.js`);
const { connectFunctionsEmulator, getFunctions, httpsCallable } = await import(`${sdk}/firebase-functions.js`);

const app = initializeApp({ projectId: config.project, apiKey: "any" });
const auth = initializeAuth(app, { persistence: inMemoryPersistence });
const functions = getFunctions(app, "us-central1");
connectAuthEmulator(auth, `http://127.0.0.1:${config.port}`, { disableWarnings: true });
connectFunctionsEmulator(functions, "127.0.0.1", config.port);
const infer = httpsCallable(functions, "infer");

const refusal = await infer.stream(config.short).then(({ data }) => data).catch(({ code }) => code);
await signInAnonymously(auth);

const begun = performance.now();
const { stream, data } = await infer.stream(config.short);
const chunks = [];
for await (const { text } of stream) chunks.push({ text, at: performance.now() - begun });
const answer = await data;

const leaving = new AbortController();
const left = await infer.stream(config.long, { signal: leaving.signal });
left.data.catch(() => {});
let heard = 0;
try {
  for await (const _ of left.stream) if (++heard === 2) leaving.abort();
} catch {
  // Leaving ends the iteration with an error.
}

// The job that was left is still being settled for a moment, and an anonymous caller may have one at a time.
const submit = httpsCallable(functions, "submit");
const submitted = (tries) =>
  submit(config.short).catch(async (error) => {
    if (error.code !== "functions/resource-exhausted" || tries === 0) throw error;
    await new Promise((resolve) => setTimeout(resolve, 500));
    return await submitted(tries - 1);
  });
const job = (await submitted(40)).data;
let asked = job;
while (["held", "running"].includes(asked.state)) {
  await new Promise((resolve) => setTimeout(resolve, 200));
  asked = (await httpsCallable(functions, "job")({ job_id: job.job_id })).data;
}
await saw({ refusal, chunks, answer, heard, submitted: job.state, asked });
