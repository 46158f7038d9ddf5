// The event stream and its way back after a cut.

import { setServerTime } from "./names.js";

const RETRY_MS = [1000, 2000, 4000, 8000];
const LOST_AFTER_MS = 1500;

/** One event stream at a time. Reopens for ever; `handlers` gets each kind of event and the state of the link. */
export class Stream {
  source = null;
  failures = 0;
  heardAt = 0;
  heartbeatMs = 15000;
  retryTimer = 0;
  lostTimer = 0;

  constructor(handlers) {
    this.handlers = handlers;
  }

  open(callId) {
    this.close();
    this.callId = callId;
    this.heardAt = performance.now();
    const source = new EventSource(callId ? `api/events?call_id=${encodeURIComponent(callId)}` : "api/events");
    this.source = source;
    for (const kind of ["ready", "calls", "words", "record", "ping"]) {
      source.addEventListener(kind, ({ data }) => {
        if (source !== this.source) return;
        this.heardAt = performance.now();
        const value = JSON.parse(data);
        if (value.now) setServerTime(value.now);
        if (kind === "ready") this.connected(value);
        this.handlers[kind]?.(value);
      });
    }
    source.addEventListener("error", () => {
      if (source === this.source) this.failed(source.readyState === EventSource.CLOSED);
    });
  }

  close() {
    clearTimeout(this.retryTimer);
    this.source?.close();
    this.source = null;
  }

  reopen() {
    this.open(this.callId);
  }

  connected({ heartbeat_s: heartbeat }) {
    this.heartbeatMs = heartbeat * 1000;
    this.failures = 0;
    clearTimeout(this.lostTimer);
    this.lostTimer = 0;
    this.handlers.link("live");
  }

  /** The browser reconnects by itself after a cut; a refusal (`final`) closes the source, so that is ours to retry. */
  async failed(final) {
    this.lostTimer ||= setTimeout(() => this.handlers.link("lost"), LOST_AFTER_MS);
    if (!final) return;
    const pause = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    const source = this.source;
    const refusal = await fetch("api/calls").then(refusedWith, () => null);
    if (source !== this.source) return;
    if (refusal !== null) {
      clearTimeout(this.lostTimer);
      this.handlers.link("refused", refusal);
    } else {
      this.retryTimer = setTimeout(() => this.reopen(), pause);
    }
  }

  /** A stream that says nothing for two and a half heartbeats is dead, though TCP may not know it yet. */
  check() {
    if (this.source && performance.now() - this.heardAt > 2.5 * this.heartbeatMs) {
      this.lostTimer ||= setTimeout(() => this.handlers.link("lost"), 0);
      this.reopen();
    }
  }
}

/** Why trying again is of no use: what the server says, "" where it wants its token; null where it is of use. */
async function refusedWith(answer) {
  if (answer.status === 401) return "";
  if (answer.status !== 403) return null;
  return answer.json().then((body) => body.error, () => "The server does not answer requests from here.");
}
