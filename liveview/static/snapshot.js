// A call so far, asked for until it is there.

import { callQuery } from "./names.js";

const RETRY_MS = [1000, 2000, 4000, 8000, 15000];
const TIMEOUT_MS = 10_000;

/** One call at a time. `found` gets the snapshot, `absent` is told of a 404, `failed` gets why it could not be had. */
export class Snapshots {
  asked = 0;
  failures = 0;
  timer = 0;

  constructor(handlers) {
    this.handlers = handlers;
  }

  stop() {
    this.asked += 1;
    this.failures = 0;
    clearTimeout(this.timer);
  }

  async load(callId) {
    clearTimeout(this.timer);
    this.asked += 1;
    const number = this.asked;
    const { status, body, why } = await ask(callId);
    if (number !== this.asked) return;
    if (status === 404) {
      this.failures = 0;
      this.handlers.absent();
    } else if (why) {
      this.again(callId, why);
    } else {
      try {
        this.handlers.found(body);
        this.failures = 0;
      } catch (error) {
        console.error(error);
        this.again(callId, "its records cannot be read");
      }
    }
  }

  again(callId, why) {
    this.timer = setTimeout(() => this.load(callId), RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)]);
    this.failures += 1;
    this.handlers.failed(why);
  }
}

async function ask(callId) {
  const asked = new AbortController();
  const timeout = setTimeout(() => asked.abort(), TIMEOUT_MS);
  try {
    const answer = await fetch(`api/call?${callQuery(callId)}`, { signal: asked.signal });
    const body = await answer.json().catch(() => null);
    if (answer.ok) return { status: answer.status, body, why: body ? "" : "its answer was cut off" };
    return { status: answer.status, why: body?.error ?? `the server, or a proxy before it, answers ${answer.status}` };
  } catch {
    return { status: 0, why: "the server cannot be reached" };
  } finally {
    clearTimeout(timeout);
  }
}
