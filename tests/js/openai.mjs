// The official `openai` package for JS, unchanged but for its address and its key. Prints what it was answered, as JSON.
//
// node openai.mjs '{"baseURL": …, "apiKey": …, "model": …, "writes": false}'

import OpenAI from "openai";

const { baseURL, apiKey, model, writes } = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "Hello, world" }];

async function error(attempt) {
  try {
    await attempt();
    return null;
  } catch (thrown) {
    return { kind: thrown.constructor.name, status: thrown.status, code: thrown.code };
  }
}

async function embedding() {
  const made = await client.embeddings.create({ model, input: ["Hello, world", "Good morning"] });
  const cut = await client.embeddings.create({ model, input: "Hello, world", dimensions: 8 });
  return {
    lengths: made.data.map((row) => row.embedding.length),
    cut: Math.hypot(...cut.data[0].embedding),
    tokens: made.usage.total_tokens,
  };
}

async function writing() {
  const whole = await client.chat.completions.create({ model, messages, max_completion_tokens: 8, temperature: 0 });
  const options = { include_usage: true };
  const stream = await client.chat.completions.create(
    { model, messages, max_completion_tokens: 8, temperature: 0, stream: true, stream_options: options },
  );
  let streamed = "";
  let usage = null;
  for await (const chunk of stream) {
    streamed += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  const text = await client.completions.create({ model, prompt: "Hello", max_tokens: 4 });
  return { whole: whole.choices[0].message.content, streamed, usage, text: text.choices[0].text.length };
}

const listed = [];
for await (const each of client.models.list()) listed.push(each.id);
console.log(
  JSON.stringify({
    models: listed,
    made: writes ? await writing() : await embedding(),
    unknown: await error(() => client.embeddings.create({ model: "gpt-9", input: "x" })),
    malformed: await error(() => client.embeddings.create({ model, input: [] })),
    forged: await error(() => new OpenAI({ baseURL, apiKey: "th_forged", maxRetries: 0 }).models.list()),
  }),
);
