// How times, languages, roles and calls are named on the page.

import { el } from "./dom.js";

export const callQuery = (callId) => `call_id=${encodeURIComponent(callId)}`;

/** For titles and attributes: between the isolates of Unicode, so that its direction reorders nothing beside it. */
export const isolated = (text) => `\u2068${text}\u2069`;

/** Milliseconds the server's clock is ahead of this one. */
let clockSkewMs = 0;

export function setServerTime(now) {
  clockSkewMs = Date.parse(now) - Date.now();
}

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

export const serverMs = () => Date.now() + clockSkewMs;

export const timeOfDay = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/** A lost call runs until it was heard of last. */
export function callSeconds(call) {
  const until = call.ended_at ?? call.lost_at;
  const end = until ? Date.parse(until) : serverMs();
  return (end - Date.parse(call.started_at)) / 1000;
}

const localFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const localTime = (at) => localFormat.format(new Date(at));

const languageNames = new Intl.DisplayNames(["en"], { type: "language" });
const primary = (tag) => tag.split(/[-_]/)[0].toLowerCase();
const hues = new Map();

function languageName(tag) {
  try {
    return languageNames.of(primary(tag));
  } catch {
    return tag;
  }
}

/** A colour number per language, in the order in which this page meets them. */
function hue(tag) {
  const language = primary(tag);
  if (!hues.has(language)) hues.set(language, String(hues.size % 6));
  return hues.get(language);
}

const SOURCES = {
  detected: "detected",
  carried: "carried from the sentence before",
  configured: "configured for this leg",
};

export function badge(tag, source) {
  const node = el("abbr", "lang", primary(tag).toUpperCase());
  node.dataset.hue = hue(tag);
  node.dataset.source = source ?? "";
  node.title = `${languageName(tag)} (${source ? `${tag}, ${SOURCES[source] ?? source}` : tag})`;
  return node;
}

const ROLES = { agent: "Agent", customer: "Customer" };

export const roleName = (role, channel) => ROLES[role] ?? (channel === undefined ? "Speaker" : `Speaker ${channel + 1}`);

export const callName = (call) => call.from || call.metadata?.caller || call.call_id;

export const STATUS = { active: "Live", held: "On hold", ended: "Ended", lost: "Lost" };

export const isRunning = (call) => call.status === "active" || call.status === "held";

export const callHref = (callId) => `#call=${encodeURIComponent(callId)}`;
