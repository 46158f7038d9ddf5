// One call as a conversation.

import { $, bdi, el, setData, setHidden, setParts, setText } from "./dom.js";
import {
  STATUS, badge, callName, callSeconds, clock, isolated, localTime, roleName, serverMs, timeOfDay,
} from "./names.js";

/** A leg whose audio began less than this after the call counts as there from its beginning. */
const LATE_LEG_S = 3;

/** Keys that follow each other this closely belong to one entry, such as an account number. */
const KEY_ROW_S = 6;

/** A leg that is quiet for this long is said to be. */
const QUIET_S = 10;

export class Conversation {
  items = [];
  segments = new Map();
  seen = new Set();
  legStarts = new Map();
  legHeard = new Map();
  quiet = new Map();
  newestAt = "";
  waiting = [];
  unread = 0;
  pinned = true;
  ended = false;

  constructor(callId) {
    this.callId = callId;
    this.call = null;
    this.legsText = "";
    $("log").replaceChildren();
    this.setUnread(0);
    setHidden($("jump"), true);
  }

  /** Merges a snapshot into what is shown: records are told apart by segment and revision, so none shows twice. */
  load({ call, segments, dtmf, steps }) {
    this.call = call;
    for (const record of segments) this.noteLegStart(record);
    for (const record of [...segments, ...dtmf, ...steps]) this.apply(record, false);
    for (const record of this.waiting.splice(0)) this.apply(record, false);
    this.setCall(call);
    this.showLegs();
  }

  /** Records that come before the snapshot wait for it; those of another run of the call are of another conversation. */
  apply(record, live) {
    if (!this.call) return void this.waiting.push(record);
    if (!sameRun(record, this.call)) return;
    this.noteHeard(record);
    if (record.type === "transcript") this.applySegment(record, live);
    else if (record.type === "call" || record.type === "dtmf") this.applyEvent(record);
    setHidden($("silence"), this.items.length > 0 && this.call.status !== "lost");
  }

  /** A record of a leg is a sign that it is heard. */
  noteHeard({ leg, at }) {
    if (at > this.newestAt) this.newestAt = at;
    if (leg && at > (this.legHeard.get(leg) ?? "")) this.legHeard.set(leg, at);
  }

  applySegment(record, live) {
    let segment = this.segments.get(record.segment_id);
    if (segment && !supersedes(record, segment.record)) return;
    if (live) this.noteLegStart(record);
    if (!segment) {
      segment = this.buildSegment(record);
      this.segments.set(record.segment_id, segment);
      this.insert(segment);
    }
    const before = segment.record;
    segment.record = record;
    setData(segment.node, "final", String(record.is_final));
    setText(segment.text, record.transcript);
    // A partial without any text yet, or a final that took all of it back, leaves no bubble.
    setHidden(segment.node, record.transcript === "");
    segment.bubble.title = record.is_final
      ? `Confidence ${Math.round(record.confidence * 100)} %, shown ${Math.round(record.latency_ms)} ms after it was heard`
      : "Provisional: words may still change";
    this.setBadges(segment, record);
    if (live && (record.language !== before?.language || record.language_source !== before?.language_source)) {
      this.showLegs();
    }
    if (live && record.is_final && record.transcript) {
      announce(roleName(record.speaker_role, record.channel_index), record.transcript);
      if (!this.pinned) this.setUnread(this.unread + 1);
    }
  }

  buildSegment(record) {
    const node = el("li", "seg");
    node.id = `segment-${record.segment_id}`;
    node.dataset.side = side(record);
    node.dataset.role = record.speaker_role;
    const name = el("p", "name");
    name.append(el("b", "", roleName(record.speaker_role, record.channel_index)), " ", bdi(record.leg));
    const [line, bubble, text, meta] = [el("div", "line"), el("div", "bubble"), el("p", "text"), el("p", "meta")];
    text.dir = "auto";
    const seconds = this.legStart(record.leg) + record.start;
    const time = el("time", "", clock(seconds));
    time.title = "Time in call";
    const badges = el("span", "badges");
    meta.append(badges, time);
    bubble.append(text);
    line.append(bubble, meta);
    node.append(name, line);
    return { node, bubble, text, badges, badgeKey: "", leg: record.leg, seconds, record: null };
  }

  setBadges(segment, record) {
    const tags = record.languages.length > 1 ? record.languages : record.language ? [record.language] : [];
    const key = `${tags.join()} ${record.language_source}`;
    if (key === segment.badgeKey) return;
    segment.badgeKey = key;
    segment.badges.replaceChildren(...tags.map((tag) => badge(tag, record.language_source)));
    if (record.language) segment.text.lang = record.language;
  }

  applyEvent(record) {
    if (this.seen.has(record.event_id)) return;
    this.seen.add(record.event_id);
    if (record.type === "dtmf") this.addKey(record);
    else if (stepText(record)) this.addLine(record.action, stepText(record), this.secondsAt(record.at), { of: record.action === "TRANSFER" && record.to });
  }

  /** Keys of one leg pressed in a row share a line. */
  addKey({ leg, digit, start }) {
    const seconds = this.legStart(leg) + start;
    const before = this.items.findLast((item) => item.seconds <= seconds);
    if (before?.keysOf === leg && seconds - before.seconds < KEY_ROW_S) {
      before.label.append(` ${digit}`);
      return;
    }
    const who = this.call.legs.find((one) => one.leg === leg);
    const name = who ? roleName(who.speaker_role, who.channel_index) : leg;
    this.addLine("dtmf", `${name} pressed ${digit}`, seconds).keysOf = leg;
  }

  /** A line between the segments: at its time, or where `order` puts it. `of`: what it ends with, from outside. */
  addLine(kind, text, seconds, { order = seconds, of = "" } = {}) {
    const node = el("li", "event");
    node.dataset.kind = kind;
    const [line, label] = [el("p"), el("span", "", text)];
    if (of) label.append(" ", bdi(of));
    line.append(label, " ", el("time", "", clock(seconds)));
    node.append(line);
    const item = { node, label, leg: null, seconds: order };
    this.insert(item);
    return item;
  }

  secondsAt(at) {
    return (Date.parse(at) - Date.parse(this.call.started_at)) / 1000;
  }

  /** Puts an item where its time in the call says, and marks runs of one speaker. */
  insert(item) {
    let index = this.items.length;
    while (index > 0 && this.items[index - 1].seconds > item.seconds) index -= 1;
    $("log").insertBefore(item.node, this.items[index]?.node ?? null);
    this.items.splice(index, 0, item);
    for (const i of [index, index + 1]) {
      const [before, here] = [this.items[i - 1], this.items[i]];
      here?.node.classList.toggle("goes-on", Boolean(before && here.leg !== null && here.leg === before.leg));
    }
  }

  // Segment times count from the beginning of their leg. A leg that joins late is set off by the earliest moment at
  // which its audio can have begun: arrival of the newest audio of a record, less the media time at its end.
  noteLegStart(record) {
    const arrivedMs = Date.parse(record.at) - record.latency_ms;
    const offset = (arrivedMs - Date.parse(this.call.started_at)) / 1000 - (record.start + record.duration);
    const known = this.legStarts.get(record.leg);
    if (known === undefined || offset < known) this.legStarts.set(record.leg, offset);
  }

  legStart(leg) {
    const offset = this.legStarts.get(leg) ?? 0;
    return offset < LATE_LEG_S ? 0 : offset;
  }

  setCall(call) {
    const changed = !this.call || JSON.stringify(call.legs) !== JSON.stringify(this.call.legs);
    this.call = call;
    setParts($("title"), bdi(callName(call)), ...(call.to ? [" → ", bdi(call.to)] : []));
    $("title").title = isolated(callName(call)) + (call.to ? ` → ${isolated(call.to)}` : "");
    setText($("status"), STATUS[call.status] ?? call.status);
    setData($("status"), "status", call.status);
    document.title = `${isolated(callName(call))} · Trunkline live`;
    setData($("conversation"), "status", call.status);
    if (call.ended_at && !this.ended) {
      this.ended = true;
      const text = call.reason ? "Call ended:" : "Call ended";
      this.addLine("END", text, callSeconds(call), { order: Infinity, of: call.reason });
    }
    this.showFacts();
    if (changed) this.showLegs();
    this.tick();
  }

  showFacts() {
    const { call } = this;
    const facts = { Call: call.call_id, Connector: call.connector, From: call.from, To: call.to };
    facts.Started = localTime(call.started_at);
    if (call.ended_at) facts.Ended = localTime(call.ended_at);
    Object.assign(facts, call.metadata, statisticsFacts(call.statistics));
    const key = JSON.stringify(facts);
    if (key === this.factsKey) return;
    this.factsKey = key;
    $("facts").replaceChildren(
      ...Object.entries(facts)
        .filter(([, value]) => value)
        .map(([name, value]) => {
          const pair = el("div");
          const [term, fact] = [el("dt"), el("dd")];
          term.append(bdi(name));
          fact.append(bdi(String(value)));
          pair.append(term, fact);
          return pair;
        }),
    );
  }

  /** The server no longer has the call, and nobody has seen its end. */
  lose() {
    const lost_at = this.newestAt || this.call.started_at;
    this.setCall({ ...this.call, status: "lost", lost_at });
  }

  /** What there is to see where there are no words: which leg is quiet, since when, and what became of the call. */
  showQuiet() {
    const { call } = this;
    for (const { leg } of call.legs) {
      const heard = this.legHeard.get(leg);
      const seconds = (serverMs() - Date.parse(heard ?? call.started_at)) / 1000;
      const said = heard ? `silent for ${clock(seconds)}` : `no words for ${clock(seconds)}`;
      const node = this.quiet.get(leg);
      if (node) setText(node, call.status === "active" && seconds >= QUIET_S ? said : "");
    }
    setHidden($("silence"), this.items.length > 0 && call.status !== "lost");
    setText($("silence"), this.silence());
  }

  silence() {
    const { call } = this;
    switch (call.status) {
      case "ended":
        return "Nothing was said in this call.";
      case "lost":
        return `Lost at ${timeOfDay.format(new Date(call.lost_at))}: the server that took this call was restarted or is gone. Nobody has seen how the call ended; words said since are not here.`;
      case "held":
        return "On hold. Nothing was said so far.";
      default: {
        const legs = call.legs.length === 0 ? "No audio has come yet" : "Waiting for words";
        const since = this.newestAt ? `; last heard at ${timeOfDay.format(new Date(this.newestAt))}` : `; the call began at ${timeOfDay.format(new Date(call.started_at))}`;
        return `Nothing said yet. ${legs}${since}. Words appear here as they are spoken.`;
      }
    }
  }

  /** Each leg with the languages it went through, in order; a tag that is only carried does not count. */
  showLegs() {
    const legs = (this.call?.legs ?? []).map((leg) => ({ ...leg, languages: [] }));
    for (const { record } of this.items) {
      if (!record?.language || record.language_source === "carried" || !record.transcript) continue;
      const leg = legs.find((one) => one.leg === record.leg);
      for (const tag of record.languages.length ? record.languages : [record.language]) {
        if (leg && leg.languages.at(-1) !== tag) leg.languages.push(tag);
      }
    }
    const text = JSON.stringify(legs);
    if (text === this.legsText) return;
    this.legsText = text;
    $("legs").replaceChildren(
      ...legs.map((leg) => {
        const item = el("li");
        item.dataset.role = leg.speaker_role;
        item.append(el("b", "", roleName(leg.speaker_role, leg.channel_index)), " ", el("bdi", "legname", leg.leg));
        const quiet = el("span", "quiet");
        this.quiet.set(leg.leg, quiet);
        item.append(quiet);
        leg.languages.slice(-6).forEach((tag, i) => {
          quiet.before(i ? el("span", "then", "→") : " ", badge(tag, "detected"));
        });
        return item;
      }),
    );
    this.showQuiet();
  }

  setUnread(count) {
    this.unread = count;
    setText($("unread"), count ? `(${count} new)` : "");
    if (count) setHidden($("jump"), false);
  }

  tick() {
    if (!this.call) return;
    setText($("clock"), clock(callSeconds(this.call)));
    this.showQuiet();
  }
}

/** Whether two records or calls are of one run. Those of an older server have none. */
export function sameRun(one, other) {
  return (one.run ?? null) === (other.run ?? null);
}

/** Whether `next` replaces `shown`, both of one segment: a final beats a partial, else the higher revision wins. */
function supersedes(next, shown) {
  return next.is_final === shown.is_final ? next.revision > shown.revision : next.is_final;
}

function side({ speaker_role: role, channel_index: channel }) {
  if (role === "agent") return "right";
  return role === "customer" || channel % 2 === 0 ? "left" : "right";
}

function statisticsFacts(statistics) {
  if (!statistics) return {};
  const { words, packets, lost, late, p50_latency_ms: p50, p95_latency_ms: p95 } = statistics;
  const facts = { Words: words, Packets: `${packets} (${lost} lost, ${late} late)` };
  if (p50 !== null) facts.Latency = `${Math.round(p50)} ms median, ${Math.round(p95)} ms p95`;
  return facts;
}

function stepText(record) {
  switch (record.action) {
    case "HOLD":
      return "On hold";
    case "RESUME":
      return "Resumed";
    case "TRANSFER":
      return record.to ? "Transferred to" : "Transferred";
    default: // START is the top of the page, and the end comes with the call's own fields
      return "";
  }
}

function announce(who, text) {
  $("announce").replaceChildren(`${who}: `, bdi(text));
}
