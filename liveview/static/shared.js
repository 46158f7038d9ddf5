// The shared worker: one event stream for all tabs of a browser, as HTTP/1.1 allows a host six connections.

import { EventStream } from "./events.js";

/** Tabs that say nothing for so long are gone: a hidden one has its timers once a minute. */
const GONE_MS = 200_000;

/** Tabs that open together share one request. */
const GATHER_MS = 30;

const tabs = new Map(); // port -> {callId, at}
let gathering = 0;

const stream = new EventStream(new URL("../api/events", self.location.href).href, (kind, value) => {
  for (const port of tabs.keys()) port.postMessage({ kind, value });
});

function reopen() {
  clearTimeout(gathering);
  gathering = setTimeout(() => {
    const callIds = [...tabs.values()].map(({ callId }) => callId).filter((callId) => callId !== null);
    if (tabs.size) stream.open([...new Set(callIds.reverse())]);
    else stream.close();
  }, GATHER_MS);
}

function leave(port) {
  if (tabs.delete(port)) reopen();
}

self.addEventListener("connect", ({ ports: [port] }) => {
  port.addEventListener("message", ({ data: { kind, callId } }) => {
    if (kind === "leave") return leave(port);
    const known = tabs.get(port);
    tabs.delete(port); // the one that spoke last stands last
    tabs.set(port, { callId, at: Date.now() });
    port.postMessage({ kind: "here" });
    if (!known) port.postMessage({ kind: "link", value: stream.link });
    if (kind === "reopen" || known?.callId !== callId) reopen();
  });
  port.start();
});

setInterval(() => {
  for (const [port, { at }] of tabs) if (Date.now() - at > GONE_MS) leave(port);
}, 10_000);
