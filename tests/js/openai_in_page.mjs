// What a page does with the official `openai` package, which tries again by itself unless it is told not to.
const { default: OpenAI } = await import("/openai/index.mjs");

const client = new OpenAI({ baseURL: config.baseURL, apiKey: config.apiKey, dangerouslyAllowBrowser: true, maxRetries: 2 });
try {
  await client.embeddings.create({ model: config.model, input: "one" });
  saw({ answered: true });
} catch ({ status, headers }) {
  saw({ status, job: headers.get("x-job-id"), retry: headers.get("x-should-retry") });
}
