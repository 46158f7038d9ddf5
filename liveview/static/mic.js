// The microphone page: a button, and what is recognised of what is said.

import { Conversation } from "./conversation.js";
import { $, setData, setHidden, setText } from "./dom.js";
import { followNewest } from "./follow.js";
import { Stream } from "./stream.js";
import { Refused, WhipSession } from "./whip.js";

const STATES = {
  idle: ["Not speaking", "Start speaking"],
  asking: ["Waiting for the microphone", "Cancel"],
  connecting: ["Connecting", "Stop"],
  live: ["On air", "Stop"],
  ending: ["Last words", "Stop"],
};

let state = "idle";
let session = null;
let media = null;
let conversation = null;
let meter = null;

function setState(next) {
  state = next;
  const [said, action] = STATES[next];
  setText($("link"), said);
  setData($("link"), "state", next === "live" ? "live" : next === "idle" ? "idle" : "connecting");
  setText($("talk-label"), action);
  setData($("talk"), "state", next);
  $("talk").disabled = next === "ending";
  $("role").disabled = next !== "idle";
  const speaking = next === "connecting" || next === "live";
  setHidden($("mute"), !speaking);
  setHidden($("level-label"), !speaking);
}

function complain(text) {
  setText($("banner"), text);
  setHidden($("banner"), !text);
}

const stream = new Stream({
  link(link, why) {
    if (link === "refused") complain(why || "This page needs a token. Open it once with ?token= and the token behind its address.");
    if (link === "lost" && state !== "idle") complain("Connection to the transcript lost. Trying again.");
    if (link === "live" && state !== "idle") complain("");
  },
  ready() {
    if (conversation?.call) loadSnapshot(conversation.callId); // after a cut; a call that is new comes with the list
  },
  calls({ calls }) {
    const call = calls.find((one) => one.call_id === conversation?.callId);
    if (!call) return;
    if (conversation.call) conversation.setCall(call);
    else loadSnapshot(call.call_id);
    if (call.status === "ended") ended();
  },
  record(record) {
    if (record.call_id === conversation?.callId) conversation.apply(record, true);
  },
});

async function loadSnapshot(callId) {
  const target = conversation;
  const answer = await fetch(`api/calls/${encodeURIComponent(callId)}`).catch(() => null);
  if (!answer?.ok || target !== conversation || target?.callId !== callId) return;
  const snapshot = await answer.json();
  if (target !== conversation) return;
  target.load(snapshot);
  setHidden($("conversation"), false);
  setHidden($("empty"), true);
  if (snapshot.call.status === "ended") ended();
}

async function settings() {
  const answer = await fetch("api/mic");
  const body = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, body.error);
  return body;
}

async function start() {
  complain("");
  setState("asking");
  try {
    const known = await settings();
    if (!navigator.mediaDevices) throw new Refused(0, "A browser gives the microphone only to pages over https or on localhost.");
    const stream_ = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    if (state !== "asking") return release(stream_);
    media = stream_;
    setState("connecting");
    const callId = `mic-${crypto.randomUUID()}`;
    conversation = new Conversation(callId);
    stream.open(callId);
    const [track] = media.getAudioTracks();
    track.addEventListener("ended", stop);
    measure(media);
    const mine = (session = new WhipSession(known, (connection) => session === mine && changed(connection), listen));
    await mine.start(track, { call_id: callId, role: $("role").value, from: "Microphone" });
    if (session !== mine) await mine.stop(); // stopped meanwhile
  } catch (error) {
    complain(explain(error));
    finish();
    conversation = null;
    setHidden($("conversation"), true);
    setHidden($("empty"), false);
    setState("idle");
  }
}

/** Plays what a bot says. A page that has the microphone may play without being asked. */
function listen(audio) {
  $("voice").srcObject = audio;
  $("voice").play().catch((error) => {
    if (error.name === "NotAllowedError") complain("The browser does not play what the other side says. Allow sound for this page and try again.");
  });
}

function explain(error) {
  if (error instanceof Refused) {
    return error.status === 503 ? "The server has no room for another call. Try again in a moment." : error.message;
  }
  if (error.name === "NotAllowedError") return "The browser did not allow the microphone. Allow it for this page and try again.";
  if (error.name === "NotFoundError") return "No microphone was found.";
  return `It did not work: ${error.message}`;
}

function changed(connection) {
  if (connection === "connected") setState("live");
  if (connection === "failed") {
    complain("The connection to the server was lost. What was said so far is kept.");
    stop();
  }
}

/** Ends the session; the page then waits for the last words. */
async function stop() {
  if (state === "asking") return setState("idle");
  if (state !== "connecting" && state !== "live") return;
  setState("ending");
  const mine = session;
  session = null;
  await mine?.stop();
  finish();
  // Without news of the call's end the button must not stay dead.
  setTimeout(() => conversation?.callId && state === "ending" && setState("idle"), 15000);
}

/** The call's end has been published. */
function ended() {
  if (state === "ending") setState("idle");
  else if (state !== "idle") stop().then(() => setState("idle")); // ended by the server
}

/** Gives the microphone back. */
function finish() {
  session?.stop();
  session = null;
  clearInterval(meter?.timer);
  meter?.context.close();
  meter = null;
  release(media);
  media = null;
  $("voice").srcObject = null;
  setData($("mute"), "on", "false");
  $("mute").setAttribute("aria-pressed", "false");
}

function release(source) {
  for (const track of source?.getTracks() ?? []) track.stop();
}

/** Shows how loud the microphone is, for "is it on?". */
function measure(source) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  context.createMediaStreamSource(source).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
    $("level").value = Math.min(Math.sqrt(power) * 3, 1);
  }, 100);
  meter = { context, timer };
}

function mute() {
  const [track] = media?.getAudioTracks() ?? [];
  if (!track) return;
  track.enabled = !track.enabled;
  $("mute").setAttribute("aria-pressed", String(!track.enabled));
  if (state === "live") setText($("link"), track.enabled ? STATES.live[0] : "Muted");
}

followNewest(() => conversation);
$("mute").addEventListener("click", mute);
$("speak").addEventListener("submit", (event) => {
  event.preventDefault();
  if (state === "idle") start();
  else stop();
});
addEventListener("pagehide", () => session?.stop());

setInterval(() => {
  stream.check();
  if (!document.hidden) conversation?.tick();
}, 1000);

setState("idle");
