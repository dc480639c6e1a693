// The client of a Twohop gate. README.md beside this file tells how it is used; index.d.ts has the types.

export { TwohopClient } from "./client.js";
export { TwohopError } from "./errors.js";
export { memoryStorage, chromeStorage } from "./pending.js";
