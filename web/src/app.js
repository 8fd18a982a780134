// Everything here makes pages livelier; each of them can be read, and each form sent, without it.
import htmx from "htmx.org";
import { askBeforeSending, pageKey, sessionIsOver } from "./session.js";

window.htmx = htmx; // the extension looks for it there
document.documentElement.classList.add("scripted");

const REFRESH_MS = 4000;
const MOST_ENTRIES = 1500;
const MOST_CHARACTERS = 200_000; // of one program's output, while it runs; its own page has all

document.addEventListener("htmx:configRequest", (event) => {
  if (pageKey()) event.detail.headers["X-Cloister-Page-Key"] = pageKey();
});

document.addEventListener("cloister:session-over", sessionIsOver);
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status === 401) sessionIsOver();
  if (event.detail.xhr.status === 404) location.reload(); // a task that is gone: the page says so
});
document.addEventListener("htmx:sendError", () => say("The server cannot be reached; this page tries again"));
document.addEventListener("htmx:sseError", () => say("The server cannot be reached; this page tries again"));

// A stream that was broken may begin a little earlier than what is on the page.
document.addEventListener("htmx:sseBeforeMessage", (event) => {
  const list = event.target;
  if (event.detail.type !== "entries") return;
  const seq = Number(event.detail.lastEventId);
  if (seq && seq <= Number(list.dataset.seq || 0)) event.preventDefault();
  else list.dataset.seq = seq;
});
document.addEventListener("htmx:sseMessage", (event) => {
  const list = event.target;
  if (!list.matches?.("[data-log]")) return;
  for (const ended of list.querySelectorAll("details.command")) {
    const name = ended.id.split("-").slice(1).join("-");
    const earlier = list.querySelectorAll(`details.command[id$="-${name}"]`);
    if (earlier.length > 1 && earlier[0] === ended) ended.replaceWith(earlier[earlier.length - 1]);
  }
  for (const entry of list.querySelectorAll(".entry.output")) {
    const before = entry.previousElementSibling;
    if (!before?.matches(".entry.output") || before.dataset.key !== entry.dataset.key) continue;
    const pre = before.querySelector("pre");
    const isAtEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
    pre.append(entry.querySelector("pre").textContent);
    entry.remove();
    if (pre.textContent.length > MOST_CHARACTERS) pre.textContent = pre.textContent.slice(-MOST_CHARACTERS / 2);
    if (isAtEnd) pre.scrollTop = pre.scrollHeight;
  }
  while (list.childElementCount > MOST_ENTRIES) list.firstElementChild.remove();
  if (isFollowing) window.scrollTo({ top: document.documentElement.scrollHeight });
});
let isFollowing = false;
document.addEventListener("scroll", () => {
  const page = document.documentElement;
  isFollowing = page.scrollTop > 0 && page.scrollHeight - page.scrollTop - page.clientHeight < 80;
}, { passive: true });

function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  place.classList.add("shown");
  setTimeout(() => place.classList.remove("shown"), 2500);
}

function elapsed(since) {
  const seconds = Math.max(0, (Date.now() - new Date(since)) / 1000);
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function ago(at) {
  const seconds = (Date.now() - new Date(at)) / 1000;
  if (seconds >= 86400) return `${Math.floor(seconds / 86400)} d ago`;
  if (seconds >= 3600) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds >= 60) return `${Math.floor(seconds / 60)} min ago`;
  return "just now";
}

function tellTime() {
  for (const time of document.querySelectorAll("time")) {
    time.textContent = ago(time.dateTime);
    time.title = new Date(time.dateTime).toLocaleString();
  }
  for (const running of document.querySelectorAll("[data-since]")) running.textContent = elapsed(running.dataset.since);
}

setInterval(tellTime, 1000);
tellTime();
askBeforeSending(say);

setInterval(() => {
  const list = document.querySelector("[data-refresh]");
  const isChosen = list?.querySelector("input:checked");
  if (list && !isChosen && document.visibilityState === "visible" && !list.contains(document.activeElement)) {
    htmx.trigger(list, "refresh");
  }
}, REFRESH_MS);

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.copy !== undefined) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      say("Copied");
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
      say("Selected: copy it with your keyboard");
    }
  }
  if (button?.dataset.open) document.getElementById(button.dataset.open).showModal();
});

// Keyboard: letters alone, and never while somebody writes.
let prefix = "";
let chosen = -1;

function step(by) {
  const rows = [...document.querySelectorAll("[data-rows] > .row")];
  if (!rows.length) return;
  chosen = Math.min(rows.length - 1, Math.max(0, chosen + by));
  const link = rows[chosen].querySelector("a.title");
  link.focus();
  rows[chosen].scrollIntoView({ block: "nearest" });
}

function goingTo(letter) {
  const link = /^[a-z]$/.test(letter) && document.querySelector(`[data-go="${letter}"]`);
  return link ? () => link.click() : undefined;
}

const KEYS = {
  "?": () => document.getElementById("shortcuts")?.showModal(),
  "/": () => document.querySelector("[data-search]")?.focus(),
  n: () => { location.href = "/tasks/new"; },
  f: () => document.querySelector("[data-follow-up]")?.focus(),
  j: () => step(1),
  k: () => step(-1),
};

document.addEventListener("keydown", (event) => {
  const isWriting = event.target.matches?.("input:not([type=checkbox]):not([type=radio]), textarea, select");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const form = event.target.closest?.("form[data-send]");
    if (form) {
      event.preventDefault();
      form.requestSubmit();
    }
    return;
  }
  if (isWriting && event.key === "Escape") event.target.blur();
  if (isWriting || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const tabs = document.querySelectorAll("nav.tabs a");
  if (/^[1-5]$/.test(event.key) && tabs.length) {
    tabs[event.key - 1]?.click();
    return;
  }
  const action = prefix ? goingTo(event.key) ?? KEYS[event.key] : KEYS[event.key];
  prefix = event.key === "g" ? "g" : "";
  if (action) {
    event.preventDefault();
    action();
  }
});

// What is typed is not sent while it is typed: the page itself puts it into the command line.
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

function fillCommandLine() {
  const place = document.querySelector("[data-command-line]");
  const prompt = document.getElementById("prompt")?.value.trim();
  if (!place) return;
  const code = place.querySelector("code");
  place.dataset.commandLine ||= code.textContent;
  const line = prompt ? place.dataset.commandLine.replace(/PROMPT$/, () => quoted(prompt)) : place.dataset.commandLine;
  code.textContent = line;
  place.querySelector("[data-copy]").dataset.copy = line;
}
document.addEventListener("input", fillCommandLine);
document.addEventListener("htmx:afterSwap", fillCommandLine);

// A form whose changes are previewed is sent as a form is, not by htmx.
document.addEventListener("submit", (event) => {
  if (event.submitter?.formTarget === "_blank") return; // this page stays, and goes on
  for (const button of event.target.querySelectorAll("button:not([type=button])")) {
    setTimeout(() => { button.disabled = true; });
    button.dataset.sent = "";
  }
});
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[data-sent]")) button.disabled = false;
});
