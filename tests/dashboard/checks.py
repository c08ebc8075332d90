"""Scripts that look at a page in the browser: contrast, what sticks out, how long drawing takes."""

CONTRAST = """
(() => {
  const parse = (css) => (css.match(/[\\d.]+/g) ?? []).map(Number);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((part, i) => part * a + under[i] * (1 - a));
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    if (!node) return [255, 255, 255];
    const colour = parse(getComputedStyle(node).backgroundColor);
    return colour[3] === 0 ? ground(node.parentElement) : over(colour, ground(node.parentElement));
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility({ contentVisibilityAuto: true })) continue;
    const style = getComputedStyle(node);
    const under = ground(node);
    const ink = over(parse(node.namespaceURI.endsWith("svg") ? style.fill : style.color), under);
    const [dark, bright] = [light(ink), light(under)].sort((a, b) => a - b);
    const words = walker.currentNode.data.trim().slice(0, 40);
    found.push({ words, ratio: (bright + 0.05) / (dark + 0.05) });
  }
  return found;
})()
"""
"""Each visible piece of text and its contrast with what lies below it, after WCAG 2."""

SIDEWAYS = """
(() => {
  const wide = document.documentElement.clientWidth;
  const out = [...document.querySelectorAll("body *")].filter((node) => {
    const { right, width } = node.getBoundingClientRect();
    const cut = node.closest("svg, .models td, .models th");
    return width && right > wide + 1 && node.checkVisibility() && !cut;
  });
  const scrolls = document.documentElement.scrollWidth > wide;
  return out.map((node) => node.outerHTML.slice(0, 80)).concat(scrolls ? ["the page scrolls sideways"] : []);
})()
"""
"""What sticks out at the right."""

OVERLAPS = """
(selector) => {
  const pieces = [];
  const walker = document.createTreeWalker(document.querySelector(selector), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const of = walker.currentNode;
    const range = document.createRange();
    range.selectNodeContents(of);
    if (of.parentElement.closest(".decisions") || !of.data.trim()) continue;
    for (const box of range.getClientRects()) pieces.push({ of, box });
  }
  const shared = (a, b, low, high) => Math.min(a[high], b[high]) - Math.max(a[low], b[low]);
  const meet = ({ of, box: a }, other) =>
    of !== other.of && shared(a, other.box, "left", "right") > 1 && shared(a, other.box, "top", "bottom") > 2;
  return pieces.flatMap((one, i) => {
    const found = pieces.slice(i + 1).filter((other) => meet(one, other));
    return found.map((other) => [one.of.data, other.of.data]);
  });
}
"""
"""Pieces of text in an element that lie on each other; what scrolls inside it is left out."""

WATCH = """
window.drawn = [];
new PerformanceObserver((list) => {
  const entries = list.getEntries().filter(({ name }) => name === "penstock-draw");
  window.drawn.push(...entries.map(({ duration }) => duration));
}).observe({ type: "measure" });
window.long = [];
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) window.long.push(duration);
}).observe({ type: "longtask" });
"""
"""Notes how long each drawing takes, and each task over 50 ms (milliseconds)."""

WORK = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
"""Metrics of the browser's work for a page, in seconds."""
