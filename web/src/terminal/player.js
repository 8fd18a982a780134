// Plays a recording (asciicast, version 2), as it was shown, with long waits cut short.
import { makeTerminal } from "./widget.js";

const MOST_BYTES = 24 * 1024 * 1024;
const LONGEST_WAIT = 2; // seconds
const SKIP = 5;

async function readLines(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.detail ?? "there is no recording");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let isWhole = true;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
    if (text.length > MOST_BYTES) {
      isWhole = false;
      await reader.cancel();
      break;
    }
  }
  const lines = text.split("\n");
  if (!isWhole) lines.pop();
  return { lines: lines.filter(Boolean), isWhole };
}

function parse(lines) {
  const events = [];
  let now = 0;
  let before = 0;
  for (const line of lines.slice(1)) {
    const [at, kind, data] = JSON.parse(line);
    now += Math.min(LONGEST_WAIT, Math.max(0, at - before));
    before = at;
    events.push({ at: now, kind, data });
  }
  return { header: JSON.parse(lines[0]), events, length: now };
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

export async function play(place) {
  const told = place.querySelector("[data-told]");
  let found;
  told.hidden = false;
  told.textContent = "The recording is being read…";
  try {
    found = await readLines(place.dataset.cast);
  } catch (error) {
    told.textContent = error.message;
    return () => {};
  }
  const { header, events, length } = parse(found.lines);
  told.hidden = found.isWhole;
  if (!found.isWhole) told.textContent = "It is long: its beginning is shown. Download it to see all of it.";
  const widget = makeTerminal(place.querySelector("[data-screen]"), { disableStdin: true, cursorBlink: false });
  const { terminal } = widget;
  const button = place.querySelector("[data-play]");
  const seek = place.querySelector("[data-seek]");
  const speed = place.querySelector("[data-speed]");
  const time = place.querySelector("[data-time]");
  seek.max = String(length);
  let next = 0;
  let position = 0;
  let since = null; // of performance.now(), while it plays
  let frame = 0;

  function apply(until) {
    let text = "";
    while (next < events.length && events[next].at <= until) {
      const { kind, data } = events[next];
      if (kind === "o") text += data;
      next += 1;
    }
    if (text) terminal.write(text);
    position = until;
    seek.value = String(position);
    time.textContent = `${clock(position)} / ${clock(length)}`;
    seek.setAttribute("aria-valuetext", time.textContent);
    place.dataset.shown = String(next);
  }

  function step(now) {
    if (since === null || !place.isConnected) return;
    apply(Math.min(length, position + ((now - since) / 1000) * Number(speed.value)));
    since = now;
    if (next >= events.length) pause();
    else frame = requestAnimationFrame(step);
  }

  function pause() {
    since = null;
    cancelAnimationFrame(frame);
    button.textContent = "Play";
  }

  function start() {
    if (next >= events.length) jump(0);
    since = performance.now();
    button.textContent = "Pause";
    frame = requestAnimationFrame(step);
  }

  function jump(to) {
    const wanted = Math.min(length, Math.max(0, to));
    if (wanted < position) {
      terminal.reset();
      next = 0;
    }
    apply(wanted);
  }

  button.addEventListener("click", () => (since === null ? start() : pause()));
  seek.addEventListener("input", () => jump(Number(seek.value)));
  place.addEventListener("keydown", (event) => {
    if (event.target === seek || event.target === speed) return;
    const by = { ArrowLeft: -SKIP, ArrowRight: SKIP }[event.key];
    if (by) jump(position + by);
    else if (event.key === " " && event.target !== button) button.click();
    else return;
    event.preventDefault();
  });
  for (const each of [button, seek, speed]) each.disabled = false;
  terminal.resize(Math.max(terminal.cols, Math.min(200, header.width)), Math.max(terminal.rows, Math.min(60, header.height)));
  apply(0);
  place.dataset.length = String(events.length);
  return () => {
    pause();
    widget.end();
  };
}
