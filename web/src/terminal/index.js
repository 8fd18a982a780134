import { offerShell } from "./shell.js";
import { play } from "./player.js";
import { showOutput } from "./output.js";

const KINDS = { output: showOutput, player: play, shell: offerShell };

// Called by app.js for each element that names this module; returns what ends it.
export function start(place) {
  return KINDS[place.dataset.kind](place);
}
