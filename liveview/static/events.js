// The event stream and its way back after a cut. Runs in the shared worker, or in the page where there is none.

const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15000];
const REFUSED_RETRY_MS = 30_000;
const LOST_AFTER_MS = 1500;
const STEADY_MS = 10_000;
const PROBE_MS = 10_000;
const MAX_QUERY_CHARS = 7000;

export const KINDS = ["ready", "calls", "words", "record", "ping"];

/**
 * One event stream at a time, for any number of calls. Opened again for ever, with growing pauses.
 *
 * `send` gets each event as (kind, value), and the state of the link as ("link", {state, since, why}): `live`; `lost`:
 * no answer; `busy`: the server answers and cannot serve; `refused`: it wants another token or client. `since` is in
 * ms, of this machine's clock.
 */
export class EventStream {
  source = null;
  callIds = [];
  link = { state: "connecting", since: Date.now(), why: "" };
  failures = 0;
  heardAt = 0;
  liveAt = 0;
  heartbeatMs = 15000;
  retryTimer = 0;
  lostTimer = 0;

  constructor(url, send) {
    this.url = url;
    this.send = send;
    setInterval(() => this.check(), 1000);
  }

  open(callIds = this.callIds) {
    this.close();
    this.callIds = callIds;
    this.heardAt = performance.now();
    if (this.link.state !== "live") this.suspect("no answer yet");
    const source = new EventSource(this.address());
    this.source = source;
    for (const kind of KINDS) {
      source.addEventListener(kind, ({ data }) => {
        if (source !== this.source) return;
        this.heardAt = performance.now();
        const value = JSON.parse(data);
        if (kind === "ready") this.connected(value);
        this.send(kind, value);
      });
    }
    source.addEventListener("error", () => {
      if (source === this.source) this.failed();
    });
  }

  /** The newest calls go first; a request line has room for so many. */
  address() {
    let query = "";
    for (const callId of this.callIds) {
      const next = `${query ? "&" : "?"}call_id=${encodeURIComponent(callId)}`;
      if (query.length + next.length <= MAX_QUERY_CHARS) query += next;
    }
    return this.url + query;
  }

  close() {
    clearTimeout(this.retryTimer);
    this.retryTimer = 0;
    this.source?.close();
    this.source = null;
  }

  connected({ heartbeat_s: heartbeat }) {
    this.heartbeatMs = heartbeat * 1000;
    this.liveAt = performance.now();
    this.tell("live");
  }

  /** `since` is when the state before was left; a link that only changes its fault keeps it. */
  tell(state, why = "") {
    clearTimeout(this.lostTimer);
    this.lostTimer = 0;
    if (state === this.link.state && why === this.link.why) return;
    const broken = state !== "live" && !["live", "connecting"].includes(this.link.state);
    this.link = { state, since: broken ? this.link.since : (this.failedAt ?? Date.now()), why };
    if (state === "live") this.failedAt = null;
    this.send("link", this.link);
  }

  /** A link that is made good in a moment is not worth a word. */
  suspect(why) {
    this.failedAt ??= Date.now();
    this.lostTimer ||= setTimeout(() => this.tell("lost", why), LOST_AFTER_MS);
  }

  async failed() {
    this.close();
    if (this.liveAt && performance.now() - this.liveAt > STEADY_MS) this.failures = 0;
    this.liveAt = 0;
    this.suspect("the server cannot be reached");
    const pause = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)] * (0.75 + Math.random() / 2);
    this.failures += 1;
    const timer = setTimeout(() => this.open(), PROBE_MS + pause);
    this.retryTimer = timer;
    const { state, why } = await this.probe();
    if (timer !== this.retryTimer || this.source) return;
    if (state) this.tell(state, why);
    clearTimeout(timer);
    this.retryTimer = setTimeout(() => this.open(), state === "refused" ? REFUSED_RETRY_MS : pause);
  }

  /** An event stream does not say why it was refused, the same request by itself does. */
  async probe() {
    const asked = new AbortController();
    const timer = setTimeout(() => asked.abort(), PROBE_MS);
    try {
      const answer = await fetch(this.address(), { signal: asked.signal });
      if (answer.ok) return {};
      const said = await answer.json().then(({ error }) => error, () => "");
      const why = said || `the server, or a proxy before it, answers ${answer.status}`;
      if (answer.status === 401 || answer.status === 403) return { state: "refused", why: answer.status === 401 ? "" : why };
      return { state: said || answer.status === 429 ? "busy" : "lost", why };
    } catch {
      return {};
    } finally {
      clearTimeout(timer);
      asked.abort();
    }
  }

  /** A stream that says nothing for two and a half heartbeats is dead, though TCP may not know it yet. */
  check() {
    if (!this.source || performance.now() - this.heardAt <= 2.5 * this.heartbeatMs) return;
    this.suspect("the server has said nothing for a while");
    this.open();
  }
}
