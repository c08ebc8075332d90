/** Small tools over the DOM: words are only ever written as text, and only where they changed. */

const SVG = "http://www.w3.org/2000/svg";

/** `el("p.soft", {title: "…"}, "words", node)`: an element with classes, attributes and children. */
export function el(what, attributes = {}, ...children) {
  return fill(document.createElement(what.split(".")[0]), what, attributes, children);
}

export function svg(what, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, what.split(".")[0]), what, attributes, children);
}

function fill(node, what, attributes, children) {
  const classes = what.split(".").slice(1);
  if (classes.length) node.classList.add(...classes);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A text node that is written again and again. */
export const text = (words = "") => document.createTextNode(words);

export function put(node, words) {
  if (node.data !== words) node.data = words;
}

/** Sets an attribute that differs; null takes it away. */
export function mark(node, name, value) {
  if (value === null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

export function show(node, yes) {
  if (node.hidden === yes) node.hidden = !yes;
}

/** Puts `nodes` into `parent` in this order and moves only what stands wrong. */
export function arrange(parent, nodes) {
  let next = parent.firstChild;
  for (const node of nodes) {
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

export const byId = (id) => document.getElementById(id);
