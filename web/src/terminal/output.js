// What programs of a running attempt print, as it comes. A flood is drawn no faster than a screen shows it: of what
// waits to be drawn, the newest stays, and how much was left out is said.
import { makeTerminal } from "./widget.js";

const MOST_WAITING = 256 * 1024; // characters
const RETRY_MS = 3000;
const FEW_LINES = 8;

export function showOutput(place) {
  const screen = place.querySelector("[data-screen]");
  const silence = place.querySelector("[data-silence]");
  let widget = null; // once there is something to draw: an empty box says nothing
  const told = place.querySelector("[data-told]");
  let waiting = "";
  let leftOut = Number(place.dataset.leftOut || 0);
  let isDrawing = false;
  let last = Number(place.dataset.after);
  let source;

  function tell() {
    told.hidden = !leftOut;
    told.querySelector("span").textContent = `${leftOut.toLocaleString("en")} characters are not shown here. `;
  }

  function draw() {
    if (isDrawing || !waiting) return;
    isDrawing = true;
    const text = waiting;
    waiting = "";
    widget ??= makeWidget();
    requestAnimationFrame(() => widget.terminal.write(text, () => {
      grow();
      isDrawing = false;
      place.dataset.drawn = String(last);
      draw();
    }));
  }

  function makeWidget() {
    screen.hidden = false;
    silence.hidden = true;
    return makeTerminal(screen, { disableStdin: true, convertEol: true });
  }

  // It is as high as what is in it, up to its full height.
  function grow() {
    const { baseY, cursorY } = widget.terminal.buffer.active;
    if (baseY + cursorY >= FEW_LINES) screen.classList.remove("short");
  }

  function take(event) {
    const { text, left_out } = JSON.parse(event.data);
    last = Number(event.lastEventId);
    leftOut += left_out;
    waiting += text;
    if (waiting.length > MOST_WAITING) {
      const cut = waiting.indexOf("\n", waiting.length - MOST_WAITING / 2) + 1;
      leftOut += cut;
      waiting = waiting.slice(cut);
    }
    tell();
    draw();
  }

  function follow() {
    const address = new URL(place.dataset.stream, location.href);
    address.searchParams.set("after", String(last));
    source = new EventSource(address);
    source.addEventListener("output", take);
    source.addEventListener("over", () => source.close());
    source.addEventListener("error", () => {
      if (!place.isConnected) source.close();
      else if (source.readyState === EventSource.CLOSED) lookAgain();
    });
  }

  // A browser tries a broken connection again by itself, and gives up when it is refused: then somebody has to look.
  async function lookAgain() {
    const answer = await fetch(location.href, { redirect: "manual" }).catch(() => null);
    if (!place.isConnected) return;
    if (answer?.status === 401) document.dispatchEvent(new Event("cloister:session-over"));
    else if (answer && !answer.ok) location.reload(); // it is gone: the page says so
    else setTimeout(follow, RETRY_MS);
  }

  tell();
  follow();
  return () => {
    source.close();
    widget?.end();
  };
}
