// The list of calls.

import { $, bdi, el, setData, setHidden, setParts, setText } from "./dom.js";
import { STATUS, callHref, callName, callSeconds, clock, isRunning, roleName } from "./names.js";

/** Rows keyed by call; only the nodes whose text changed are touched. */
export class CallList {
  rows = new Map();
  query = "";
  selected = null;

  replace(calls) {
    const present = new Set(calls.map((call) => call.call_id));
    for (const callId of [...this.rows.keys()]) if (!present.has(callId)) this.remove(callId);
    for (const call of calls) this.put(call);
  }

  get(callId) {
    return this.rows.get(callId)?.call;
  }

  put(call) {
    let row = this.rows.get(call.call_id);
    if (!row) {
      row = this.build(call);
      this.rows.set(call.call_id, row);
    }
    call.last_words ??= row.call?.last_words;
    row.call = call;
    setParts(row.who, bdi(callName(call)));
    const { agent, queue } = call.metadata ?? {};
    const about = [call.connector, agent, queue].filter(Boolean);
    setParts(row.about, ...about.flatMap((text, i) => (i ? [" · ", bdi(text)] : [bdi(text)])));
    setText(row.state, STATUS[call.status] ?? call.status);
    setData(row.item, "status", call.status);
    if (call.last_words) this.setWords(row, call.last_words);
    this.tickRow(row);
    this.place(row);
    this.match(row);
  }

  build(call) {
    const item = el("li", "row");
    const link = el("a");
    link.href = callHref(call.call_id);
    const [who, time, about, state, last] = ["who", "time", "about", "state", "last"].map((name) => el("span", name));
    const [speaker, text] = [el("span", "speaker"), el("bdi", "words")];
    last.append(speaker, text);
    link.append(who, time, about, state, last);
    item.append(link);
    if (call.call_id === this.selected) link.setAttribute("aria-current", "true");
    return { item, link, who, time, about, state, speaker, text, call: null };
  }

  /** Running calls by start, ended ones by end, newest first. A row moves only when its place changes. */
  place(row) {
    const ended = !isRunning(row.call);
    const order = `${ended ? 0 : 1}${ended ? (row.call.ended_at ?? row.call.lost_at) : row.call.started_at}`;
    if (order === row.item.order) return;
    const group = $(ended ? "ended" : "active");
    const focused = document.activeElement === row.link;
    let next = null;
    for (const item of group.children) {
      if (item !== row.item && item.order < order) {
        next = item;
        break;
      }
    }
    row.item.order = order;
    group.insertBefore(row.item, next);
    if (focused) row.link.focus();
  }

  remove(callId) {
    this.rows.get(callId)?.item.remove();
    this.rows.delete(callId);
  }

  words(byCall) {
    for (const [callId, words] of Object.entries(byCall)) {
      const row = this.rows.get(callId);
      if (!row) continue;
      row.call.last_words = words;
      this.setWords(row, words);
      if (this.query) this.match(row);
    }
  }

  setWords(row, words) {
    setText(row.speaker, `${roleName(words.speaker_role)}: `);
    setText(row.text, words.text);
    setData(row.item, "final", String(words.is_final));
  }

  select(callId) {
    this.rows.get(this.selected)?.link.removeAttribute("aria-current");
    this.selected = callId;
    const link = this.rows.get(callId)?.link;
    link?.setAttribute("aria-current", "true");
    link?.scrollIntoView({ block: "nearest" });
  }

  filter(query) {
    this.query = query.trim().toLowerCase();
    for (const row of this.rows.values()) this.match(row);
    this.summarise();
  }

  match(row) {
    const { call } = row;
    const hit =
      !this.query ||
      [call.call_id, call.from, call.to, call.connector, call.last_words?.text, ...Object.values(call.metadata ?? {})]
        .join("\n")
        .toLowerCase()
        .includes(this.query);
    setHidden(row.item, !hit);
  }

  tickRow(row) {
    setText(row.time, clock(callSeconds(row.call)));
  }

  tick() {
    for (const row of this.rows.values()) if (isRunning(row.call)) this.tickRow(row);
  }

  newestActive() {
    return $("active").querySelector("li:not([hidden]) a");
  }

  /** Counts, headings and the notes that stand where rows are missing. */
  summarise() {
    let shown = 0;
    for (const name of ["active", "ended"]) {
      const rows = [...$(name).children];
      const visible = rows.filter((item) => !item.hidden).length;
      setHidden($(`${name}-group`), visible === 0);
      setText($(`${name}-count`), String(visible));
      shown += visible;
    }
    const active = $("active").children.length;
    setText($("count"), active === 1 ? "1 active call" : `${active} active calls`);
    setHidden($("no-calls"), this.rows.size > 0);
    setHidden($("no-match"), this.rows.size === 0 || shown > 0);
    return active;
  }

  /** Moves the focus from row to row; `step` is +1, -1 or an end of the list. */
  move(step) {
    const links = [...$("groups").querySelectorAll("li:not([hidden]) a")];
    const at = links.indexOf(document.activeElement);
    const to = Number.isFinite(step) ? Math.min(Math.max(at + step, 0), links.length - 1) : step > 0 ? links.length - 1 : 0;
    links[to]?.focus();
  }
}
