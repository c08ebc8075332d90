/** Puts the page together: the feed brings figures, the address says which model is open. */

import { askKey, key, say } from "./actions.js";
import { Detail } from "./detail.js";
import { byId, mark, put, show, text } from "./dom.js";
import { Feed } from "./feed.js";
import { bytes, joined, rate, span, whole } from "./format.js";
import { candidates, Rollouts } from "./rollouts.js";
import { shortcuts } from "./shortcuts.js";
import { sign } from "./signs.js";
import { Strip, totals } from "./strip.js";
import { Table } from "./table.js";
import { Tenants } from "./tenants.js";
import { nameOf, Tracks } from "./tracks.js";

const page = byId("page");
const tracks = new Tracks();
const strip = new Strip(byId("strip"));
const table = new Table(byId("models"));
const tenants = new Tenants(byId("tenants"));
const free = { renew: () => feed.again(), may: () => hello.may ?? "" };
const rollouts = new Rollouts(byId("rollouts"), { ...free, unlock: () => unlock("Steering rollouts needs a key with the role admin.") });
const detail = new Detail(byId("detail"), {
  ...free,
  close: () => closeModel(),
  unlock: () => unlock("Loading and unloading need a key with the role admin."),
});
const machine = text();
byId("machine").append(machine);

const NARROW = matchMedia("(max-width: 1179px)"); // as in detail.css
let hello = {};
let tick = null;
let drawing = 0;
let link = "connecting";
let refusal = ""; // what the server last said when it was asked for figures

/** The model in the address, `#/name/version`, or null. */
function wanted() {
  const found = /^#\/([^/]+)(?:\/([^/]*))?$/.exec(location.hash);
  if (!found) return null;
  try {
    const [name, version = ""] = found.slice(1).map((part) => decodeURIComponent(part ?? ""));
    return { name, version };
  } catch {
    return null; // not an address that this page made
  }
}

function find(models, { name, version }) {
  const same = models.filter((model) => model.name === name);
  return same.find((model) => (model.version ?? "") === version) ?? (version ? undefined : (same.find(({ live }) => live) ?? same[0]));
}

function closeModel() {
  const was = wanted();
  history.pushState(null, "", location.pathname + location.search);
  route();
  if (was) table.focus(nameOf(was));
}

/** Follows the address; the focus goes to the model's heading where it was opened, not walked to. */
function route(opened = false) {
  draw();
  if (!opened || !wanted()) return;
  if (NARROW.matches) scrollTo(0, 0);
  detail.heading.focus({ preventScroll: true });
}

/** Shows another model in place of the open one, without a history entry for each row walked. */
function turn(hash) {
  history.replaceState(null, "", hash);
  route();
}

function schedule() {
  if (!drawing && !document.hidden) drawing = requestAnimationFrame(() => draw());
}

function draw() {
  cancelAnimationFrame(drawing);
  drawing = 0;
  if (!tick || document.hidden) return;
  const began = performance.now();
  write();
  performance.measure("penstock-draw", { start: began, end: performance.now() });
  performance.clearMeasures("penstock-draw");
}

function write() {
  const models = tick.models ?? [];
  const currency = tick.cost?.currency || hello.currency || "";
  const rolling = tick.rollouts ?? [];
  const marks = candidates(rolling);
  const scales = new Map((tick.scaling ?? []).map((one) => [one.model, one]));
  const open = wanted();
  const alone = models.length === 1 && (!open || find(models, open) === models[0]);
  mark(page, "data-view", alone ? "one" : open ? "open" : "all");
  strip.write(tick, tracks);
  rollouts.write(rolling, tick.at);
  show(byId("models"), !alone);
  show(byId("detail"), alone || open !== null);
  if (alone || open) {
    detail.write(alone ? models[0] : find(models, open), { models, marks, currency, tracks, alone, wanted: open, scales, at: tick.at });
  }
  const found = open && find(models, open);
  table.open(found ? nameOf(found) : "");
  if (!alone) table.write(models, { currency, marks, scales, versions: versionsOf(models) }, tracks);
  tenants.write(tick.tenants ?? [], currency);
  writeFrame(models);
}

function versionsOf(models) {
  const versions = new Map();
  for (const { name } of models) versions.set(name, (versions.get(name) ?? 0) + 1);
  return versions;
}

function writeFrame(models) {
  const ready = Boolean(tick.ready);
  sign(byId("ready"), ready ? "good" : "bad", ready ? "ready" : "not ready");
  const { processor = "", cores, memory_bytes, memory_limit } = tick.machine ?? {};
  const memory = memory_bytes ? joined(bytes(memory_bytes)) + (memory_limit ? ` of ${joined(bytes(memory_limit))}` : "") : "";
  const up = hello.started ? `up ${span(tick.at - hello.started)}` : "";
  const count = `${whole(models.length)} ${models.length === 1 ? "model" : "models"}`;
  put(machine, [`penstock ${hello.version ?? ""}`, processor, cores && `${whole(cores)} cores`, memory, count, up].filter(Boolean).join(" · "));
  title();
}

function title() {
  const name = hello.site && hello.site !== "local" ? `${hello.site} · penstock` : "penstock";
  const now = link !== "live" ? "○" : !tick?.ready ? "▲ not ready" : `${rate(tick.rate ?? 0)}/s`;
  const words = `${now} ${name}`;
  if (document.title !== words) document.title = words;
}

const LINKS = {
  live: () => ["good", "live"],
  connecting: () => ["wait", "connecting"],
  lost: (seconds) => ["bad", `lost, trying again in ${seconds} s`],
  key: () => ["none", "a key is needed"],
};

function onState(state, info, why) {
  if (state === "connecting" && link === "lost") return; // it stays lost until it is live
  const was = link;
  link = state;
  const [is, words] = LINKS[state](info);
  sign(byId("link"), is, words);
  mark(page, "data-stale", tick && state !== "live" ? "" : null);
  const said = why ? `The server said: ${why}` : "";
  byId("wait").textContent = state === "lost" ? said || "The server does not answer." : "Waiting for the first figures";
  if (state === "lost" && was === "live") say("The connection is lost; the figures are the last ones seen.", "bad");
  if (said && said !== refusal && tick) say(said, "bad");
  if (said || state === "live") refusal = said;
  if (state === "live" && was === "lost" && tick) say("Connected again.");
  if (state === "key") unlock(`The server asks for an API key. It said: ${info}`);
  title();
}

async function unlock(why) {
  if (await askKey(why)) feed.again();
}

function onHello(data) {
  hello = data;
  byId("name").textContent = data.name || "penstock";
  byId("version").textContent = data.version ?? "";
  byId("site").textContent = data.site ?? "";
  show(byId("site"), Boolean(data.site) && data.site !== "local");
}

function onTick(data) {
  tick = data;
  tracks.keep(tick, totals(tick));
  show(byId("wait"), false);
  schedule();
}

document.addEventListener("visibilitychange", schedule);
addEventListener("hashchange", () => route(true));
addEventListener("popstate", () => route());
byId("key").addEventListener("click", () => unlock("With a key the page shows and does what the key allows."));
shortcuts({ table, wanted, turn, close: closeModel, say });
sign(byId("link"), "wait", "connecting");
const feed = new Feed("penstock/live", key, { hello: onHello, past: (data) => tracks.begin(data), tick: onTick, state: onState });
