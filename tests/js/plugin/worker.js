// A plugin's service worker, which the browser ends whenever it likes. It notes what it asks, and goes on after a restart.

import { initializeApp } from "firebase/app";
import { connectAuthEmulator, getAuth, signInAnonymously } from "firebase/auth/web-extension";
import { connectFunctionsEmulator, getFunctions } from "firebase/functions";
import { TwohopClient, chromeStorage } from "twohop-client";
import { port } from "./config.js";

const app = initializeApp({ projectId: "demo-twohop", apiKey: "any" });
const auth = getAuth(app);
const functions = getFunctions(app);
connectAuthEmulator(auth, `http://127.0.0.1:${port}`, { disableWarnings: true });
connectFunctionsEmulator(functions, "127.0.0.1", port);

const storage = chromeStorage(chrome.storage.session);
const twohop = new TwohopClient(app, { auth, functions, storage, signIn: () => signInAnonymously(auth) });
const keep = (answer) => chrome.storage.local.set({ answer });
const fail = (error) => chrome.storage.local.set({ error: `${error.code}: ${error.message}` });

chrome.runtime.onMessage.addListener(({ ask, options }, _, reply) => {
  if (ask) twohop.infer(ask, options).then(keep, fail);
  started.then(reply);
  return true;
});

const started = chrome.storage.session.get({ starts: 0 }).then(async ({ starts }) => {
  await chrome.storage.session.set({ starts: starts + 1 });
  return starts + 1;
});

twohop.resume().then((found) => found.forEach((answer) => answer.then(keep, fail)));
