// Heavy parts are loaded by the pages that have them: an element names its module, which starts and ends it.
const begun = new Map(); // from an element to what ends it

export async function startModules() {
  for (const [place, end] of begun) {
    if (place.isConnected) continue;
    begun.delete(place);
    (await end)?.();
  }
  for (const place of document.querySelectorAll("[data-module]")) {
    if (begun.has(place)) continue;
    begun.set(place, import(place.dataset.module).then((module) => module.start(place)).catch((error) => {
      console.error(error); // what it would have shown livelier is on the page without it too
      place.classList.add("failed");
    }));
  }
}

document.addEventListener("htmx:afterSettle", startModules);
startModules();
