// The live page: a list of calls and one call as a conversation, kept up to date by one event stream.

import { CallList } from "./calls.js";
import { Conversation, sameRun } from "./conversation.js";
import { $, setData, setHidden, setText } from "./dom.js";
import { followNewest } from "./follow.js";
import { Link } from "./link.js";
import { isRunning, timeOfDay } from "./names.js";
import { Snapshots } from "./snapshot.js";

const SLOW_MS = 500;

const list = new CallList();
const wide = matchMedia("(min-width: 760px)");
let conversation = null;
let missing = false;
let pending = "";
let pendingTimer = 0;
let listKnown = false;
let unreadSince = null;
let build = null;

const link = new Link({
  link: showLink,
  ready(value) {
    build ??= value.build;
    if (value.build !== build) showBanner("Trunkline was updated.", "Reload", () => location.reload());
    setHidden($("mic"), !value.microphone);
    if (conversation) {
      if (value.call_ids.includes(conversation.callId)) loadSnapshot();
      else failed("too many calls are open in this browser: close some of its tabs");
    }
    showWarnings(value.warnings);
  },
  ping: ({ warnings }) => showWarnings(warnings),
  calls({ complete, calls, removed, unread_since: unread }) {
    if (complete) {
      unreadSince = unread;
      showLink();
    }
    if (complete && unread === null) list.replace(calls);
    else for (const call of calls) list.put(call);
    for (const callId of removed) list.remove(callId);
    listKnown = unreadSince === null;
    const active = list.summarise();
    setHidden($("count"), !listKnown);
    if (!listKnown) setHidden($("no-calls"), true);
    if (!conversation) document.title = active ? `(${active}) Trunkline live` : "Trunkline live";
    const call = conversation && list.get(conversation.callId);
    if (call && conversation.call && sameRun(conversation.call, call)) conversation.setCall(call);
    else if (call && (missing || conversation.call)) startOver(call.call_id);
    else if (conversation?.call && isRunning(conversation.call) && listKnown && (complete || removed.length)) loadSnapshot();
    if (!conversation && wide.matches) openNewest();
    showEmpty();
  },
  words: (byCall) => list.words(byCall),
  record(record) {
    if (record.call_id === conversation?.callId) conversation.apply(record, true);
  },
});

const snapshots = new Snapshots({
  found(snapshot) {
    missing = false;
    wait("");
    const listed = list.get(conversation.callId);
    conversation.load({ ...snapshot, call: listed && sameRun(listed, snapshot.call) ? listed : snapshot.call });
    showEmpty();
  },
  /** What is on the screen stays there even if the server has forgotten the call. */
  absent() {
    wait("");
    missing = !conversation.call;
    if (!missing && isRunning(conversation.call)) conversation.lose();
    showEmpty();
  },
  failed,
});

function loadSnapshot() {
  clearTimeout(pendingTimer);
  if (!conversation.call && !pending) pendingTimer = setTimeout(() => wait("The server is asked for what was said so far."), SLOW_MS);
  snapshots.load(conversation.callId);
}

function failed(why) {
  wait(`${sentence(why)} It is tried again until the call is here.`);
}

/** Why the pane is empty, or what it shows incomplete; "" where nothing is awaited. */
function wait(text) {
  clearTimeout(pendingTimer);
  pending = text;
  setText($("behind"), text && conversation?.call ? `Newer words may be missing. ${text}` : "");
  setHidden($("behind"), !text || !conversation?.call);
  showEmpty();
}

const sentence = (text) => (text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "");

/** The call came to be, or began anew under its id. */
function startOver(callId) {
  conversation = new Conversation(callId);
  snapshots.stop();
  loadSnapshot();
}

function selectedByHash() {
  return new URLSearchParams(location.hash.slice(1)).get("call");
}

function openNewest() {
  const link = list.newestActive();
  if (!link) return;
  history.replaceState(null, "", link.getAttribute("href"));
  route();
}

/** Shows the call that the address names; without one, the list (narrow) or a hint (wide). */
function route() {
  const callId = selectedByHash();
  if (callId === (conversation?.callId ?? null) && link.started) return;
  conversation = callId ? new Conversation(callId) : null;
  missing = false;
  snapshots.stop();
  wait("");
  document.documentElement.dataset.pane = callId ? "call" : "list";
  setHidden($("conversation"), true);
  list.select(callId);
  link.show(callId);
  if (callId) pendingTimer = setTimeout(() => wait("The server is asked for what was said so far."), SLOW_MS);
  else document.title = "Trunkline live";
  showEmpty();
}

function showEmpty() {
  const shown = Boolean(conversation?.call);
  setHidden($("conversation"), !shown);
  const { state, why } = link.state;
  let [title, text, steps] = ["", "", false];
  if (state === "refused" && why) {
    [title, text] = ["The server shows nothing from here", why];
  } else if (state === "refused") {
    [title, text] = ["This page needs a token", "Open it once with ?token= and the token behind its address. Whoever runs Trunkline has it."];
  } else if (state === "busy" || state === "lost") {
    title = state === "busy" ? "The server cannot serve this page now" : "The server is away";
    text = `${sentence(why)} Tried again since ${clockTime(link.state.since)}; the page fills by itself.`;
  } else if (missing) {
    title = "This call is not here";
    text = "It has not started yet, or it ended a while ago. If it starts, it opens by itself.";
  } else if (conversation && pending) {
    [title, text] = ["The call is not here yet", pending];
  } else if (unreadSince !== null) {
    title = "The calls cannot be read";
    text = `The server is here, but has not been able to read its live view since ${clockTime(unreadSince)}. It tries again; the page fills by itself.`;
  } else if (listKnown && !conversation && list.rows.size === 0) {
    [title, text, steps] = ["No calls yet", "A call shows up here the moment its audio starts.", true];
  } else if (listKnown && !conversation) {
    [title, text] = ["Choose a call", "Select one on the left. A call that starts now opens by itself."];
  }
  setHidden($("empty"), shown || !title);
  // A narrow window has room for one pane: what there is to do goes before an empty list.
  const notice = steps || state === "refused" || (title && list.rows.size === 0);
  document.documentElement.toggleAttribute("data-notice", Boolean(notice));
  setText($("empty-title"), title);
  setText($("empty-text"), text);
  setHidden($("empty-steps"), !steps);
}

const LINK = {
  connecting: "Connecting", live: "Connected", lost: "Reconnecting", busy: "Server busy", refused: "Token needed", unread: "No data",
};

const clockTime = (at) => timeOfDay.format(new Date(at));

function showLink() {
  const { state, since, why } = link.state;
  const shown = state === "live" && unreadSince !== null ? "unread" : state;
  setData($("link"), "state", shown);
  setText($("link"), state === "refused" && why ? "Refused" : LINK[shown]);
  setData(document.documentElement, "link", shown);
  const now = "What you see may be out of date.";
  if (state === "lost") {
    showBanner(`Connection lost since ${clockTime(since)}: ${why}. Trying again. ${now}`, "Try now", () => link.reopen());
  } else if (state === "busy") {
    showBanner(`No answer for this page since ${clockTime(since)}: ${why}. Trying again. ${now}`, "Try now", () => link.reopen());
  } else if (state === "refused" && conversation?.call) {
    const wanted = why || "the server wants its token, which has changed or expired: open the page with ?token= again";
    showBanner(`Access ended at ${clockTime(since)}: ${wanted}. ${now}`, "Try now", () => link.reopen());
  } else if (shown === "unread") {
    showBanner(`The server cannot read its calls since ${clockTime(unreadSince)}. It tries again. ${now}`, "Try now", () => link.reopen());
  } else if ($("banner").dataset.kind !== "Reload") {
    setHidden($("banner"), true);
  }
  showEmpty();
}

/** What of the server is not as it should be, which it says with every heartbeat. */
function showWarnings(warnings) {
  setText($("warnings"), warnings.join(" \u2022 "));
  setHidden($("warnings"), warnings.length === 0);
}

let bannerAction = null;

function showBanner(text, action, run) {
  setText($("banner-text"), text);
  setText($("banner-action"), action);
  $("banner").dataset.kind = action;
  bannerAction = run;
  setHidden($("banner"), false);
}

followNewest(() => conversation);
$("banner-action").addEventListener("click", () => bannerAction?.());
$("filter").addEventListener("input", (event) => list.filter(event.target.value));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inFilter = event.target === $("filter");
  if (event.key === "/" && !inFilter) {
    $("filter").focus();
  } else if (event.key === "Escape" && inFilter) {
    $("filter").value = "";
    list.filter("");
  } else if (event.key === "ArrowDown" && (inFilter || $("groups").contains(event.target))) {
    list.move(1);
  } else if (event.key === "ArrowUp" && $("groups").contains(event.target)) {
    list.move(-1);
  } else if (event.key === "Home" && $("groups").contains(event.target)) {
    list.move(-Infinity);
  } else if (event.key === "End" && $("groups").contains(event.target)) {
    list.move(Infinity);
  } else {
    return;
  }
  event.preventDefault();
});

// Clocks stand while nobody knows what is live.
setInterval(() => {
  if (document.hidden || document.documentElement.dataset.link !== "live") return;
  list.tick();
  conversation?.tick();
}, 1000);

addEventListener("hashchange", route);
route();
