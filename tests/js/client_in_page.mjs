// What a page does with twohop-client, signed in at its first request.
const { initializeApp } = await import("firebase/app");
const { connectAuthEmulator, inMemoryPersistence, initializeAuth, signInAnonymously } = await import("firebase/auth");
const { connectFunctionsEmulator, getFunctions } = await import("firebase/functions");
const { TwohopClient, TwohopError } = await import("twohop-client");

const app = initializeApp({ projectId: config.project, apiKey: "any" });
const auth = initializeAuth(app, { persistence: inMemoryPersistence });
const functions = getFunctions(app, "us-central1");
connectAuthEmulator(auth, `http://127.0.0.1:${config.port}`, { disableWarnings: true });
connectFunctionsEmulator(functions, "127.0.0.1", config.port);

const told = ({ code, limit, retryable }) => ({ code, limit, retryable });
const caught = (promise) => promise.then(() => null, (error) => ({ ...told(error), is: error instanceof TwohopError }));

const stranger = new TwohopClient(app, { auth, functions });
const refusal = await caught(stranger.infer("once upon", config.short));

const twohop = new TwohopClient(app, { auth, functions, signIn: () => signInAnonymously(auth) });
const answer = await twohop.infer("once upon", config.short);

const parts = [];
const stream = twohop.stream("once upon", config.short);
let step;
while (!(step = await stream.next()).done) parts.push(step.value);

const { job_id } = await twohop.submit("once upon", config.short);
const states = [];
for await (const { state } of twohop.watch(job_id)) states.push(state);
const result = await twohop.result(job_id);

const long = await twohop.submit("once upon", config.long);
const cancelled = await twohop.cancel(long.job_id);
const invalid = await caught(twohop.infer("once upon", { parameters: { max_new_tokens: -1 } }));

await saw({ refusal, answer, parts, streamed: step.value, states, result, cancelled, invalid });
