// What was asked and not answered yet, so that a page or a plugin that dies in between can go on where it was.

const PREFIX = "twohop:";

/** Storage that lives as long as this program does: for what needs no more. */
export function memoryStorage() {
  const kept = new Map();
  return {
    get: async (key) => kept.get(key),
    set: async (key, value) => void kept.set(key, value),
    remove: async (key) => void kept.delete(key),
    keys: async () => [...kept.keys()],
  };
}

/** A browser plugin's storage: `chromeStorage(chrome.storage.session)`, or `.local` to outlive the browser too. */
export function chromeStorage(area) {
  return {
    get: async (key) => (await area.get(key))[key],
    set: (key, value) => area.set({ [key]: value }),
    remove: (key) => area.remove(key),
    keys: async () => Object.keys(await area.get(null)),
  };
}

/** The requests of one client that are under way, by their idempotency keys. */
export class Pending {
  constructor(storage) {
    this._storage = storage;
  }

  async add(key, request) {
    await this._storage.set(PREFIX + key, request);
  }

  async remove(key) {
    await this._storage.remove(PREFIX + key);
  }

  /** Return `[key, request]` of each. */
  async all() {
    const keys = (await this._storage.keys()).filter((key) => key.startsWith(PREFIX));
    const found = await Promise.all(keys.map(async (key) => [key.slice(PREFIX.length), await this._storage.get(key)]));
    return found.filter(([, request]) => request !== undefined);
  }
}
