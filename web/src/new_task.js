// The form for a new task: files by paste and drop, and how the prompt reads while it is written.
import htmx from "htmx.org";

const form = document.getElementById("task-form");

function start() {
  const input = document.getElementById("given");
  const list = form.querySelector(".given-list");
  const zone = form.querySelector("[data-drop]");
  const reading = form.querySelector("[data-markdown]");
  const prompt = document.getElementById("prompt");
  const patch = document.getElementById("patch");
  const patchFile = document.getElementById("patch_file");

  function put(files) {
    const all = new DataTransfer();
    for (const file of files) all.items.add(file);
    input.files = all.files;
    tell();
  }

  function tell() {
    const files = [...input.files];
    const isPicture = (file) => /^image\/(png|jpeg|gif|webp)$/.test(file.type);
    form.elements.image_names.value = files.filter(isPicture).map((file) => file.name).join("\n");
    form.elements.file_names.value = files.filter((file) => !isPicture(file)).map((file) => file.name).join("\n");
    list.replaceChildren(...files.map((file, place) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet";
      button.textContent = "Leave out";
      button.setAttribute("aria-label", `Leave out ${file.name}`);
      button.addEventListener("click", () => {
        put(files.filter((_, other) => other !== place));
        input.focus();
      });
      item.append(`${file.name}, ${Math.ceil(file.size / 1024)} KiB `, button);
      return item;
    }));
    htmx.trigger(form, "change");
  }

  input.addEventListener("change", tell);
  zone.addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    put([...input.files, ...event.clipboardData.files]);
  });
  zone.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    zone.classList.add("dropping");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("dropping"));
  zone.addEventListener("drop", (event) => {
    zone.classList.remove("dropping");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    put([...input.files, ...event.dataTransfer.files]);
  });

  const tellPatch = () => {
    form.elements.patch_name.value = patchFile.files[0]?.name ?? (patch.value.trim() ? "change.diff" : "");
  };
  patch.addEventListener("input", tellPatch);
  patchFile.addEventListener("change", tellPatch);

  let waiting;
  const read = () => { if (reading.open) htmx.trigger("#markdown", "refresh"); };
  reading.addEventListener("toggle", read);
  prompt.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(read, 300);
  });
}

if (form) start();
