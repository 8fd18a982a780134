// The form of an environment beside its text: what somebody is writing stays as it is while the other side follows.

import htmx from "htmx.org";

const fields = document.getElementById("fields");
const text = document.getElementById("text");
let sent = "";
let writing = null;
let opened = [];

// Both sides are sent, and what comes back is of both; if the text has grown meanwhile, they are sent once more.
document.addEventListener("htmx:beforeRequest", () => { if (fields) sent = text.value; });
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, serverResponse } = event.detail;
  if (!fields || !xhr.responseURL.endsWith("/-/form") || sent === text.value || !serverResponse.includes('id="text"')) return;
  event.detail.shouldSwap = false;
  htmx.trigger(text, "change");
});

document.addEventListener("htmx:oobBeforeSwap", (event) => {
  if (event.detail.target !== fields) return;
  const active = document.activeElement;
  const isText = fields.contains(active) && active.matches("input, textarea");
  writing = isText ? { id: active.id, value: active.value, start: active.selectionStart, end: active.selectionEnd } : null;
  opened = [...fields.querySelectorAll("details")].map((group) => [group.id, group.open]);
});

document.addEventListener("htmx:oobAfterSwap", (event) => {
  const target = event.detail.target;
  if (target.id === "text") target.value = target.textContent;
  if (target !== fields) return;
  for (const [id, isOpen] of opened) {
    const group = document.getElementById(id);
    if (group) group.open ||= isOpen;
  }
  const field = writing && document.getElementById(writing.id);
  if (field) {
    field.value = writing.value;
    field.focus();
    field.setSelectionRange(writing.start, writing.end);
  }
});
