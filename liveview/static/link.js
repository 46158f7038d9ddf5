// The page's end of the event stream: in the worker that all tabs share, or its own where there is no such worker.

import { setServerTime } from "./names.js";
import { EventStream } from "./events.js";

/** Changes with what page and worker say to each other: a worker of an older page may be running. */
const WORKER = "trunkline-live-1";
const ALIVE_MS = 10_000;

/** A page with a stream of its own gives it up so long after nobody sees it: a browser has six for all. */
const HIDDEN_MS = 5000;

/** `handlers` gets each kind of event, and `link` its state (see `EventStream`). */
export class Link {
  callId = null;
  state = { state: "connecting", since: Date.now(), why: "" };
  port = null;
  stream = null;
  unanswered = 0;
  hiddenTimer = 0;
  started = false;

  constructor(handlers) {
    this.handlers = handlers;
    try {
      this.port = sharedPort((message) => this.receive(message), () => this.alone());
    } catch {
      this.alone();
    }
    setInterval(() => this.alive(), ALIVE_MS);
    document.addEventListener("visibilitychange", () => this.seen());
    addEventListener("pagehide", () => {
      this.port?.postMessage({ kind: "leave" });
      this.stream?.close();
    });
    addEventListener("pageshow", (event) => {
      if (event.persisted) this.reopen();
    });
    addEventListener("online", () => this.reopen());
  }

  show(callId) {
    this.started = true;
    this.callId = callId;
    if (this.port) this.port.postMessage({ kind: "show", callId });
    else this.stream.open(callId === null ? [] : [callId]);
  }

  reopen() {
    if (this.port) this.port.postMessage({ kind: "reopen", callId: this.callId });
    else this.stream.open();
  }

  receive({ kind, value }) {
    this.unanswered = 0;
    if (kind === "here") return;
    if (kind === "link") this.state = value;
    if (value.now) setServerTime(value.now);
    this.handlers[kind]?.(value);
  }

  /** A worker that does not answer three times is dead. */
  alive() {
    if (!this.port || !this.started) return;
    if (this.unanswered >= 3) return this.alone();
    this.unanswered += 1;
    this.port.postMessage({ kind: "show", callId: this.callId });
  }

  alone() {
    if (this.stream) return;
    this.port?.close();
    this.port = null;
    this.stream = new EventStream("api/events", (kind, value) => this.receive({ kind, value }));
    if (this.started) this.show(this.callId);
  }

  /** A page that was suspended looks at once whether what it shows still holds. */
  seen() {
    clearTimeout(this.hiddenTimer);
    if (document.visibilityState === "hidden") {
      if (this.stream) this.hiddenTimer = setTimeout(() => this.stream.close(), HIDDEN_MS);
    } else if (this.port) {
      this.port.postMessage({ kind: "show", callId: this.callId });
    } else if (this.stream.source === null) {
      this.reopen();
    } else {
      this.stream.check();
    }
  }
}

/** Throws where the browser has no shared worker. */
function sharedPort(receive, failed) {
  const address = new URL("./shared.js", import.meta.url).href;
  const policy = self.trustedTypes?.createPolicy("trunkline-worker", { createScriptURL: () => address });
  const worker = new SharedWorker(policy?.createScriptURL("") ?? address, { type: "module", name: WORKER });
  worker.addEventListener("error", failed);
  worker.port.addEventListener("message", ({ data }) => receive(data));
  worker.port.start();
  return worker.port;
}
