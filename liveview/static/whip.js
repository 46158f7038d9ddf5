// One WHIP session (RFC 9725): the microphone's track to the server, and its end.

/** A refusal of the server: `status` and its one line. */
export class Refused extends Error {
  constructor(status, text) {
    super(text || `The server answered ${status}.`);
    this.status = status;
  }
}

export class WhipSession {
  location = null;
  etag = null;
  waiting = [];
  complete = false;

  /** `settings`: {whip, token, ice_servers}. `onstate` gets each state of the connection, `onaudio` what the server
   * says, as a MediaStream, where it may say something. */
  constructor(settings, onstate, onaudio) {
    this.url = settings.whip;
    this.headers = settings.token ? { Authorization: `Bearer ${settings.token}` } : {};
    this.peer = new RTCPeerConnection({ iceServers: settings.ice_servers, bundlePolicy: "max-bundle" });
    this.peer.addEventListener("connectionstatechange", () => onstate(this.peer.connectionState));
    this.peer.addEventListener("track", ({ track }) => onaudio(new MediaStream([track])));
    this.peer.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate?.candidate) this.waiting.push(candidate);
      else if (!candidate) this.complete = true;
      this.trickle();
    });
  }

  /** Sends `track` and asks for what a bot says. `parameters` go into the URL: call_id, role, leg, from, to, language
   * and metadata. */
  async start(track, parameters) {
    this.peer.addTransceiver(track, { direction: "sendrecv" });
    await this.peer.setLocalDescription();
    const answer = await fetch(`${this.url}?${new URLSearchParams({ ...parameters, listen: "1" })}`, {
      method: "POST",
      headers: { ...this.headers, "Content-Type": "application/sdp" },
      body: this.peer.localDescription.sdp,
    });
    const text = await answer.text();
    if (answer.status !== 201) throw new Refused(answer.status, text.trim());
    this.location = new URL(answer.headers.get("Location"), answer.url).href;
    this.etag = answer.headers.get("ETag");
    await this.peer.setRemoteDescription({ type: "answer", sdp: text });
    this.trickle();
  }

  /** All candidates gathered so far in one request, once the session has an address (section 4.3.2). */
  trickle() {
    if (!this.location || (!this.waiting.length && !this.complete) || this.trickled) return;
    const sdp = this.peer.localDescription.sdp;
    const of = (name) => new RegExp(`^a=${name}:.*$`, "m").exec(sdp)[0];
    const candidates = this.waiting.splice(0);
    const lines = [of("ice-ufrag"), of("ice-pwd"), "m=audio 9 UDP/TLS/RTP/SAVPF 0", of("mid")];
    lines.push(...candidates.map(({ candidate }) => `a=${candidate}`));
    if (this.complete) lines.push("a=end-of-candidates");
    this.trickled = this.complete;
    this.request("PATCH", {
      headers: { ...this.headers, "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": this.etag },
      body: lines.map((line) => `${line.trim()}\r\n`).join(""),
    });
  }

  /** Ends the session: the server hears what was said until its answer, then the connection is closed. */
  async stop() {
    if (this.location) await this.request("DELETE", { headers: this.headers, keepalive: true });
    this.location = null;
    this.peer.close();
  }

  /** A request that may fail with the session: nothing is to be done about it. */
  request(method, options) {
    return fetch(this.location, { method, ...options }).catch(() => null);
  }
}
