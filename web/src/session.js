// A session that ends takes nothing with it that somebody has written: their page stays until they have logged in again.

const SESSION = "/api/v1/sessions/current";
const meta = document.querySelector("meta[name=page-key]");
const me = document.querySelector(".who")?.firstChild?.textContent.trim();
let name = me;

// What changes are asked for with; another session has another one.
export const pageKey = () => meta?.content;

function takeKey(key) {
  meta.content = key;
  for (const field of document.querySelectorAll("[name=page_key]")) field.value = key;
}

const isWritten = (field) => /^(TEXTAREA|INPUT)$/.test(field.tagName) && field.type !== "hidden"
  && (/^(checkbox|radio)$/.test(field.type) ? field.checked !== field.defaultChecked : field.value !== field.defaultValue);

function tell(form, words, link = "") {
  const box = document.getElementById("session-over") ?? document.createElement("div");
  box.id = "session-over";
  box.className = "box bad";
  box.setAttribute("role", "alert");
  const text = document.createElement("p");
  text.textContent = words;
  if (link) {
    const way = document.createElement("a");
    Object.assign(way, { href: "/login?next=/sessions", target: "_blank", textContent: link });
    text.append(" ", way);
  }
  box.replaceChildren(text);
  form.prepend(box);
  box.scrollIntoView({ block: "center" });
}

const tellOver = (form) => tell(form, "Your session is over. What you have written stays here, and is not sent yet: log in in another tab, "
  + "come back, and send it.", "Log in");

// To be called by whoever learns that the session is over.
export function sessionIsOver() {
  const forms = [...document.querySelectorAll("form[data-send]")];
  const form = forms.find((it) => [...it.elements].some(isWritten));
  if (form) tellOver(form);
  else location.reload(); // which leads to the page where one logs in, and back
}

// Before a form leaves, it is known that somebody will read it.
let isKnown = false;
export function askBeforeSending(say) {
  document.addEventListener("submit", async (event) => {
    const { target: form, submitter } = event;
    if (isKnown || !meta || !form.matches("form[data-send]") || form.method !== "post") return;
    event.preventDefault();
    event.stopImmediatePropagation();
    try {
      const answer = await fetch(SESSION, { headers: { Accept: "application/json" }, cache: "no-store" });
      if (answer.status === 401) return void tellOver(form);
      const session = answer.ok ? await answer.json() : {};
      if (session.page_key && session.page_key !== pageKey()) {
        takeKey(session.page_key);
        if (session.name !== name) {
          name = session.name;
          return void tell(form, `This browser is logged in as ${name} now: send it again to send it as ${name}.`);
        }
      }
    } catch {
      return void say("The server cannot be reached; nothing was sent");
    }
    document.getElementById("session-over")?.remove();
    isKnown = true;
    form.requestSubmit(submitter);
    isKnown = false;
  }, true);
}
