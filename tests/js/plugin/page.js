// Asks once, then looks twice a second whether there is an answer. Each look wakes the service worker if it has ended.

import { ask, options, saw } from "./config.js";

const tell = (what) => fetch(saw, { method: "POST", body: JSON.stringify(what) });
const wake = (message) => chrome.runtime.sendMessage(message).catch(() => 0);

await wake({ ask, options });
for (;;) {
  await new Promise((resolve) => setTimeout(resolve, 500));
  const starts = await wake({});
  const { answer, error } = await chrome.storage.local.get(["answer", "error"]);
  if (answer || error) {
    await tell({ answer, error, starts });
    break;
  }
}
