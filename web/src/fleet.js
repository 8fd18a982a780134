// The menu of all pages is a `details`: it opens without a script; with one it closes by itself too.
const menu = document.querySelector("[data-menu]");

document.addEventListener("click", (event) => {
  if (menu?.open && !menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu?.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
document.querySelector("[data-go=m]")?.addEventListener("click", () => {
  setTimeout(() => menu.open && menu.querySelector("a")?.focus());
});
