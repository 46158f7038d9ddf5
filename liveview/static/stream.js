// The event stream of one call, for a page that shares none.

import { EventStream } from "./events.js";
import { setServerTime } from "./names.js";

/** `handlers` gets each kind of event, and `link` as (`live`, `lost` or `refused`, why). */
export class Stream {
  constructor(handlers) {
    this.events = new EventStream("api/events", (kind, value) => {
      if (kind === "link") return handlers.link(value.state === "busy" ? "lost" : value.state, value.why);
      if (value.now) setServerTime(value.now);
      handlers[kind]?.(value);
    });
  }

  open(callId) {
    this.events.open(callId ? [callId] : []);
  }

  close() {
    this.events.close();
  }

  check() {
    this.events.check();
  }
}
