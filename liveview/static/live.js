// The live page: a list of calls and one call as a conversation, kept up to date by one event stream.

import { CallList } from "./calls.js";
import { Conversation, sameRun } from "./conversation.js";
import { $, setData, setHidden, setText } from "./dom.js";
import { followNewest } from "./follow.js";
import { Stream } from "./stream.js";

const list = new CallList();
const wide = matchMedia("(min-width: 760px)");
let conversation = null;
let missing = false;
let linkState = "connecting";
let refusal = "";
let listKnown = false;
let build = null;

const stream = new Stream({
  link: setLink,
  ready(value) {
    build ??= value.build;
    if (value.build !== build) showBanner("Trunkline was updated.", "Reload", () => location.reload());
    setHidden($("mic"), !value.microphone);
    if (value.call_id) loadSnapshot(value.call_id);
    showWarnings(value.warnings);
  },
  ping: ({ warnings }) => showWarnings(warnings),
  calls({ complete, calls, removed }) {
    if (complete) list.replace(calls);
    for (const call of calls) if (!complete) list.put(call);
    for (const callId of removed) list.remove(callId);
    listKnown = true;
    const active = list.summarise();
    if (!conversation) document.title = active ? `(${active}) Trunkline live` : "Trunkline live";
    const call = conversation && list.get(conversation.callId);
    if (call && conversation.call && sameRun(conversation.call, call)) conversation.setCall(call);
    else if (call && (missing || conversation.call)) startOver(call.call_id);
    if (!conversation && wide.matches) openNewest();
    showEmpty();
  },
  words: (byCall) => list.words(byCall),
  record(record) {
    if (record.call_id === conversation?.callId) conversation.apply(record, true);
  },
});

async function loadSnapshot(callId) {
  const target = conversation;
  const answer = await fetch(`api/calls/${encodeURIComponent(callId)}`).catch(() => null);
  if (target !== conversation || target?.callId !== callId || !answer) return;
  // A conversation that is on the screen stays there even if the server has forgotten the call.
  missing = answer.status === 404 && !target.call;
  if (answer.ok) {
    const snapshot = await answer.json();
    if (target !== conversation) return;
    const listed = list.get(callId);
    target.load({ ...snapshot, call: listed && sameRun(listed, snapshot.call) ? listed : snapshot.call });
  }
  showEmpty();
}

/** The call came to be, or began anew under its id. */
function startOver(callId) {
  conversation = new Conversation(callId);
  loadSnapshot(callId);
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
  if (callId === (conversation?.callId ?? null) && stream.source) return;
  conversation = callId ? new Conversation(callId) : null;
  missing = false;
  document.documentElement.dataset.pane = callId ? "call" : "list";
  setHidden($("conversation"), true);
  list.select(callId);
  stream.open(callId);
  if (!callId) document.title = "Trunkline live";
  showEmpty();
}

function showEmpty() {
  const shown = Boolean(conversation?.call);
  setHidden($("conversation"), !shown);
  let [title, text, steps] = ["", "", false];
  if (linkState === "refused" && refusal) {
    [title, text] = ["The server shows nothing from here", refusal];
  } else if (linkState === "refused") {
    [title, text] = ["This page needs a token", "Open it once with ?token= and the token behind its address. Whoever runs Trunkline has it."];
  } else if (missing) {
    title = "This call is not here";
    text = "It has not started yet, or it ended a while ago. If it starts, it opens by itself.";
  } else if (listKnown && !conversation && list.rows.size === 0) {
    [title, text, steps] = ["No calls yet", "A call shows up here the moment its audio starts.", true];
  } else if (listKnown && !conversation) {
    [title, text] = ["Choose a call", "Select one on the left. A call that starts now opens by itself."];
  }
  setHidden($("empty"), shown || !title);
  // A narrow window has room for one pane: what there is to do goes before an empty list.
  document.documentElement.toggleAttribute("data-notice", steps || linkState === "refused");
  setText($("empty-title"), title);
  setText($("empty-text"), text);
  setHidden($("empty-steps"), !steps);
}

const LINK = { connecting: "Connecting", live: "Connected", lost: "Reconnecting", refused: "Token needed" };

function setLink(state, why = "") {
  linkState = state;
  refusal = why;
  setData($("link"), "state", state);
  setText($("link"), why ? "Refused" : LINK[state]);
  setData(document.documentElement, "link", state);
  if (state === "lost") {
    showBanner("Connection lost. Trying again; what you see may be out of date.", "Try now", () => stream.reopen());
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

setInterval(() => {
  stream.check();
  if (document.hidden) return;
  list.tick();
  conversation?.tick();
}, 1000);

addEventListener("hashchange", route);
addEventListener("online", () => stream.reopen());
route();
