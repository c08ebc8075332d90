/** Signs that are told apart by shape and word, and by colour besides. */

import { mark, put } from "./dom.js";

const SHAPES = {
  good: "M5 1a4 4 0 1 1 0 8a4 4 0 1 1 0-8z",
  none: "M5 1a4 4 0 1 1 0 8a4 4 0 1 1 0-8zM5 2.6a2.4 2.4 0 1 0 0 4.8a2.4 2.4 0 1 0 0-4.8z",
  wait: "M5 1a4 4 0 1 1 0 8zM5 1a4 4 0 1 0 0 8v-1.4a2.6 2.6 0 1 1 0-5.2z",
  bad: "M5 .6L9.7 9H.3z",
};

const STATES = {
  READY: ["good", "ready"],
  LOADING: ["wait", "loading"],
  COLD: ["none", "cold"],
  UNLOADING: ["wait", "unloading"],
  UNAVAILABLE: ["bad", "unavailable"],
};

/** Shows a sign in an element that holds `svg.shape > path` and a span. */
export function sign(node, is, words) {
  mark(node, "data-is", is);
  mark(node.querySelector("path"), "d", SHAPES[is]);
  const span = node.lastElementChild;
  if (!span.firstChild) span.append("");
  put(span.firstChild, words);
}

/** The sign and the word of a model's state. */
export const stateOf = (model) => STATES[model.state] ?? ["none", String(model.state ?? "").toLowerCase()];
export const shapeOf = (is) => SHAPES[is];
