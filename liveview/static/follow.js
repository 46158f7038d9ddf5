// Keeps the newest words in sight, whenever the text grows or the window changes, until the reader scrolls up.

import { $, setHidden } from "./dom.js";

/** `current`: gives the conversation on the page, or null. */
export function followNewest(current) {
  const scroller = $("scroll");
  // Only a move upwards is the reader's: text that grows while the page scrolls down also leaves the end behind.
  let scrolledTo = 0;

  function follow() {
    if (current()?.pinned) scroller.scrollTop = scroller.scrollHeight;
  }

  function jump() {
    const conversation = current();
    if (!conversation) return;
    conversation.pinned = true;
    conversation.setUnread(0);
    setHidden($("jump"), true);
    follow();
  }

  scroller.addEventListener("scroll", () => {
    const up = scroller.scrollTop < scrolledTo;
    scrolledTo = scroller.scrollTop;
    const conversation = current();
    if (!conversation) return;
    if (scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48) {
      jump();
    } else if (up) {
      conversation.pinned = false;
      setHidden($("jump"), false);
    }
  }, { passive: true });

  new ResizeObserver(follow).observe(scroller);
  new ResizeObserver(follow).observe($("log"));
  $("jump").addEventListener("click", jump);
}
