// The SDK's stack as Sandbox.connect() would build it, and what tests of it share.
import assert from "node:assert/strict";

import { ConnectionConfig, DefaultAdapterFactory } from "@alibaba-group/opensandbox";

export function connect(url, headers = {}) {
  const connectionConfig = new ConnectionConfig({ domain: "unused.invalid", apiKey: "unused", disableMetrics: true })
    .withTransportIfMissing();
  return {
    ...new DefaultAdapterFactory().createExecdStack({ connectionConfig, execdBaseUrl: url, endpointHeaders: headers }),
    close: () => connectionConfig.closeTransport(),
  };
}

export const texts = (messages) => messages.map((m) => m.text);

// For what nothing announces: asks until there is an answer, or fails.
export async function until(what, ask, deadlineMs = 10000) {
  for (const end = Date.now() + deadlineMs; Date.now() < end; ) {
    const value = await ask();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`not within ${deadlineMs} ms: ${what}`);
}

// What is refused carries a status, a request id and, where the SDK reads the body itself, the code.
export function refusedWith(status, code) {
  return (e) => {
    assert.equal(e.statusCode, status, String(e));
    assert.ok(e.requestId, "no request id");
    if (code) assert.ok(e.error?.code === code || JSON.stringify(e.rawBody ?? "").includes(code), JSON.stringify(e));
    return true;
  };
}
