// A person's shell in a running sandbox: what it shows comes in one long answer, what is typed goes one request after
// another, in order.
import { makeTerminal } from "./widget.js";

const key = () => document.querySelector("meta[name=page-key]")?.content ?? "";

export function offerShell(place) {
  const open = place.querySelector("[data-open-shell]");
  const screen = place.querySelector("[data-screen]");
  const told = place.querySelector("[data-told]");
  let widget = null;
  let stop = null;
  let press = null;

  function tell(text) {
    told.hidden = !text;
    told.textContent = text;
  }

  function ask(address, body, signal) {
    const headers = { "X-Cloister-Page-Key": key(), "Content-Type": "application/json", Accept: "application/json" };
    return fetch(address, { method: "POST", headers, body: JSON.stringify(body), signal });
  }

  async function problemOf(answer) {
    const problem = await answer.json().catch(() => ({}));
    return [problem.detail ?? "the shell could not be opened", problem.hint].filter(Boolean).join("; ");
  }

  async function begin() {
    open.disabled = true;
    tell("");
    const cut = new AbortController();
    const { columns, rows } = { columns: 80, rows: 24 };
    const answer = await ask(place.dataset.shell + place.dataset.query, { columns, rows }, cut.signal).catch(() => null);
    if (!answer?.ok) {
      open.disabled = false;
      tell(answer ? await problemOf(answer) : "the server cannot be reached");
      return;
    }
    screen.hidden = false;
    widget = makeTerminal(screen, { cursorBlink: true });
    place.dataset.state = "open";
    const { terminal } = widget;
    let typed = "";
    let size = null;
    let isSending = false;
    let address = "";

    async function send() {
      if (isSending || !address) return;
      isSending = true;
      while (typed || size) {
        const body = { ...(typed && { typed }), ...(size ?? {}) };
        typed = "";
        size = null;
        const sent = await ask(address, body, cut.signal).catch(() => null);
        if (sent?.status === 401) document.dispatchEvent(new Event("cloister:session-over"));
        if (!sent?.ok && !cut.signal.aborted) {
          cut.abort();
          tell(sent ? await problemOf(sent) : "the server cannot be reached");
        }
      }
      isSending = false;
    }

    terminal.onData((data) => { typed += data; send(); });
    press = (keys) => { typed += keys; send(); terminal.focus(); };
    terminal.onResize(({ cols, rows: lines }) => { size = { columns: cols, rows: lines }; send(); });
    terminal.attachCustomKeyEventHandler((event) => {
      if (!(event.ctrlKey && event.shiftKey && event.key === "Escape")) return true;
      place.querySelector("[data-close-shell]").focus(); // a keyboard gets out of it
      return false;
    });
    stop = () => cut.abort();
    terminal.focus();
    place.querySelector(".widget-bar").scrollIntoView({ block: "start" }); // focus alone may leave it below the head
    const status = await show(answer, terminal, (found) => {
      address = found;
      size = { columns: terminal.cols, rows: terminal.rows };
      send();
    }).catch(() => null);
    cut.abort();
    place.dataset.state = "closed";
    open.disabled = false;
    open.textContent = "Open another shell";
    screen.hidden = true;
    widget.end();
    widget = null;
    if (told.hidden) tell(status === null ? "The shell was cut off, and is over." : `The shell ended with status ${status}.`);
    open.focus();
  }

  async function show(answer, terminal, opened) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let status = null;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return status;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines.filter(Boolean)) {
        const said = JSON.parse(line);
        if (said.shell) opened(`${place.dataset.shell}/${said.shell}`);
        if (said.shown) await new Promise((drawn) => terminal.write(Uint8Array.from(atob(said.shown), (c) => c.charCodeAt(0)), drawn));
        if (said.status !== undefined) status = said.status;
      }
    }
  }

  open.addEventListener("click", begin);
  for (const button of place.querySelectorAll("[data-press]")) {
    button.addEventListener("pointerdown", (event) => event.preventDefault()); // the keyboard of a phone stays
    button.addEventListener("click", () => press?.(JSON.parse(button.dataset.press)));
  }
  place.querySelector("[data-close-shell]").addEventListener("click", () => stop?.());
  return () => stop?.();
}
