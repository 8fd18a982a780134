// A terminal on a page: what a sandbox writes is drawn, and can neither ask nor set anything beyond its own screen.
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import css from "@xterm/xterm/css/xterm.css";
import { adopt } from "./sheets.js";

export const SCROLLBACK = 5000; // lines

adopt(css);

const dark = matchMedia("(prefers-color-scheme: dark)");

function theme() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const bright = dark.matches
    ? { black: "#5b6270", white: "#e9e7e1", brightWhite: "#ffffff" }
    : { black: "#1e1d1a", white: "#5d5950", brightWhite: "#1e1d1a", yellow: "#7a5200", brightYellow: "#7a5200" };
  return {
    ...bright,
    background: color("--sunken"), foreground: color("--ink"), cursor: color("--ink"), cursorAccent: color("--sunken"),
    selectionBackground: color("--add-word"), red: color("--bad"), brightRed: color("--bad"), green: color("--good"),
    brightGreen: color("--good"), blue: color("--info"), brightBlue: color("--info"), cyan: color("--accent"),
    brightCyan: color("--accent"),
    ...(dark.matches ? { yellow: color("--warn"), brightYellow: color("--warn") } : {}),
  };
}

export function makeTerminal(place, options = {}) {
  const terminal = new Terminal({
    scrollback: SCROLLBACK,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
    fontSize: 13,
    minimumContrastRatio: 4.5,
    linkHandler: { activate() {} },
    theme: theme(),
    ...options,
  });
  // Links, titles, the clipboard and colours of the page: taken in, and nothing is done.
  for (const code of [0, 1, 2, 4, 8, 10, 11, 12, 52, 104, 110, 111, 112]) {
    terminal.parser.registerOscHandler(code, () => true);
  }
  if (options.disableStdin) {
    // It takes no keys from the page, least of all Tab: who goes through with a keyboard gets out again.
    terminal.attachCustomKeyEventHandler((event) => event.shiftKey && ["PageUp", "PageDown"].includes(event.key));
  }
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(place);
  const watch = new ResizeObserver(() => { if (place.isConnected && place.clientWidth) fit.fit(); });
  watch.observe(place);
  const recolor = () => { terminal.options.theme = theme(); };
  dark.addEventListener("change", recolor);
  fit.fit();
  return {
    terminal,
    fit: () => fit.fit(),
    end() {
      watch.disconnect();
      dark.removeEventListener("change", recolor);
      terminal.dispose();
    },
  };
}
