// Comments on lines of a change. They stay in this tab until they are sent, together, as one follow-up.
const LONGEST_QUOTE = 200;

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export function start(place) {
  const store = `cloister-review:${place.dataset.review}`;
  const list = place.querySelector("[data-comments]");
  const remark = place.querySelector("[data-remark]");
  const prompt = place.querySelector("[data-prompt]");
  const said = document.getElementById("said-line");
  let comments = JSON.parse(sessionStorage.getItem(store) ?? "[]");
  let current = null;

  const nameOf = (comment) => `${comment.path}:${comment.line}${comment.side === "old" ? " (removed)" : ""}`;

  function codeRows(region) {
    return [...region.querySelectorAll("tr")].filter((row) => row.querySelector("td.code"));
  }

  // What a row is about: of a line that both sides have, the new one.
  function lineOf(row, cell) {
    const numbers = [...row.querySelectorAll("td.no")];
    const codes = [...row.querySelectorAll("td.code")];
    const isSplit = codes.length === 2;
    const side = cell ? numbers.indexOf(cell) : numbers[1]?.textContent ? 1 : 0;
    const chosen = numbers[side]?.textContent ? side : 1 - side;
    const line = Number(numbers[chosen]?.textContent);
    if (!line) return null;
    const isOld = chosen === 0 && (isSplit || !numbers[1].textContent);
    const code = isSplit ? codes[chosen] : codes[0];
    const path = row.closest("[data-path]").dataset.path;
    const found = !isOld && !isSplit ? Number(numbers[1].textContent) || line : line;
    return { path, side: isOld ? "old" : "new", line: found, quoted: code.textContent.slice(0, LONGEST_QUOTE) };
  }

  const isSame = (one, other) => one.path === other.path && one.side === other.side && one.line === other.line;

  function keep() {
    sessionStorage.setItem(store, JSON.stringify(comments));
    show();
  }

  function show() {
    place.hidden = !comments.length;
    place.querySelector("[data-count]").textContent = String(comments.length);
    list.replaceChildren(...comments.map((comment) => make("li", {},
      make("a", { href: `#${fileOf(comment.path)?.id ?? "review"}`, className: "path", textContent: nameOf(comment) }),
      make("pre", { className: "quoted", textContent: comment.quoted }),
      make("p", { className: "said-of-line", textContent: comment.text }),
      button("Edit", `Edit the comment on ${nameOf(comment)}`, () => edit(comment)),
      button("Remove", `Remove the comment on ${nameOf(comment)}`, () => remove(comment)),
    )));
    for (const row of document.querySelectorAll("tr.has-comment")) row.classList.remove("has-comment");
    for (const comment of comments) rowOf(comment)?.classList.add("has-comment");
  }

  function button(text, label, click, className = "quiet") {
    const made = make("button", { type: "button", className, textContent: text, ariaLabel: label });
    made.addEventListener("click", click);
    return made;
  }

  const fileOf = (path) => [...document.querySelectorAll("[data-path]")].find((each) => each.dataset.path === path);

  function rowOf(comment) {
    const file = fileOf(comment.path);
    return file && codeRows(file).find((row) => {
      for (const cell of row.querySelectorAll("td.no")) {
        const line = lineOf(row, cell);
        if (line && isSame(line, comment)) return true;
      }
      return false;
    });
  }

  function remove(comment) {
    comments = comments.filter((each) => each !== comment);
    keep();
    (comments.length ? list.querySelector("button") : document.querySelector("[data-lines]"))?.focus();
  }

  function edit(comment) {
    const row = rowOf(comment);
    if (row) write(row, comment);
    else location.href = place.dataset.all; // its file is not on this page
  }

  function write(row, line) {
    document.querySelector("tr.writing")?.remove();
    const former = comments.find((each) => isSame(each, line));
    const region = row.closest("[data-lines]");
    const text = make("textarea", { rows: 3, value: former?.text ?? "", ariaLabel: `Comment on ${nameOf(line)}` });
    const close = () => {
      writing.remove();
      region.focus();
    };
    const save = () => {
      const written = text.value.trim();
      comments = comments.filter((each) => !isSame(each, line));
      if (written) comments.push({ ...line, text: written });
      keep();
      close();
    };
    const keys = make("span", { className: "muted small", textContent: "Ctrl-Enter keeps it, Escape cancels" });
    const buttons = make("div", { className: "bar" }, button("Keep", "Keep the comment", save, ""), button("Cancel", "Cancel the comment", close), keys);
    const cell = make("td", { colSpan: 4 }, text, buttons);
    const writing = make("tr", { className: "writing" }, cell);
    text.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    row.after(writing);
    text.focus();
  }

  function choose(row, region) {
    current?.classList.remove("current");
    current = row;
    row.classList.add("current");
    row.scrollIntoView({ block: "nearest" });
    const line = lineOf(row);
    if (line && said) said.textContent = `${nameOf(line)}: ${line.quoted || "empty line"}`;
  }

  function step(region, by) {
    const rows = codeRows(region);
    const at = rows.indexOf(current);
    const to = at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by;
    if (rows[to]) choose(rows[to], region);
  }

  function pressed(event) {
    const region = event.target;
    if (!region.matches?.("[data-lines]") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowDown") step(region, 1);
    else if (event.key === "ArrowUp") step(region, -1);
    else if (event.key === "c" && current && region.contains(current)) {
      const line = lineOf(current);
      if (line) write(current, line);
    } else return;
    event.preventDefault();
  }

  function clicked(event) {
    const cell = event.target.closest?.("[data-lines] td.no");
    const line = cell && lineOf(cell.parentElement, cell);
    if (!line) return;
    choose(cell.parentElement, cell.closest("[data-lines]"));
    write(cell.parentElement, line);
  }

  function compose() {
    // Read as Markdown, names and lines must stay what they are: code.
    const parts = comments.map((comment) => `\`${nameOf(comment)}\`\n\n    ${comment.quoted}\n\n${comment.text}`);
    const paths = [...new Set(comments.map((comment) => comment.path))];
    const more = paths.length > 2 ? `, and ${paths.length - 2} more` : "";
    const title = `Comments on the change of ${paths.slice(0, 2).join(", ")}${more}:`;
    prompt.value = [title, ...parts, remark.value.trim()].filter(Boolean).join("\n\n");
  }

  document.addEventListener("keydown", pressed);
  document.addEventListener("click", clicked);
  place.querySelector("form").addEventListener("submit", compose);
  document.documentElement.classList.add("reviewing");
  show();
  place.dataset.ready = "";
  return () => {
    document.removeEventListener("keydown", pressed);
    document.removeEventListener("click", clicked);
  };
}
