/** Keys, questions and orders: what a person may do from the page, and how it is told. */

import { byId, el } from "./dom.js";
import { ask, wrong } from "./feed.js";

const STORED = "penstock-key";
const TOLD_MS = { good: 6000, bad: 15000 };

export function key() {
  try {
    return sessionStorage.getItem(STORED) ?? "";
  } catch {
    return kept; // storage may be forbidden
  }
}
let kept = "";

function keep(value) {
  kept = value;
  try {
    if (value) sessionStorage.setItem(STORED, value);
    else sessionStorage.removeItem(STORED);
  } catch {
    /* it lasts until the page is left */
  }
}

/** Tells something in words, aloud to screen readers; `is` is good, bad, or wait, which stays. */
export function say(words, is = "good") {
  const close = el("button.icon", { type: "button", "aria-label": "Dismiss" }, "×");
  const note = el("p.told", { "data-is": is }, el("span", {}, words), close);
  close.addEventListener("click", () => note.remove());
  byId("say").replaceChildren(note);
  if (TOLD_MS[is]) setTimeout(() => note.remove(), TOLD_MS[is]);
}

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close("no"));
}
byId("keys-forget").addEventListener("click", () => byId("keys").close("forget"));

/** Opens a dialog; the answer is the value of the button that closed it, "no" for Escape. */
async function open(dialog) {
  await closing.get(dialog); // its event comes after it is closed, and would answer the next question too
  dialog.returnValue = "no";
  dialog.showModal();
  const answer = new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue), { once: true }));
  closing.set(dialog, answer);
  return answer;
}
const closing = new Map();

/** Asks for a key; true when one was given or forgotten. */
export async function askKey(why) {
  const dialog = byId("keys");
  if (dialog.open) return false;
  const input = byId("keys-value");
  byId("keys-text").textContent = why;
  byId("keys-forget").hidden = !key();
  input.value = "";
  const answer = await open(dialog);
  const value = input.value.trim();
  input.value = "";
  if (answer === "forget") keep("");
  else if (answer !== "yes" || !value) return false;
  else keep(value);
  return true;
}

function confirmed(title, words, verb, danger) {
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = words;
  const yes = byId("confirm-yes");
  yes.textContent = verb;
  yes.classList.toggle("danger", danger);
  return open(byId("confirm")).then((answer) => answer === "yes");
}

const ORDERS = {
  load: {
    verb: "Load",
    done: "is loaded",
    words: () => "Its versions are read from the repository anew. Requests go on being answered meanwhile.",
  },
  unload: {
    verb: "Unload",
    done: "is unloaded",
    words: ({ answering, versions }) =>
      (versions > 1 ? `All its ${versions} versions go. ` : "") +
      "Requests for it are refused until it is loaded again." +
      (answering ? ` It answers ${answering} a second now.` : " It answers nobody now."),
  },
};

/** Asks, then orders the server to load or unload a model; `now` says what would be lost, `renew` is called after a new key. */
export async function order(what, model, now, renew) {
  const { verb, done, words } = ORDERS[what];
  if (!(await confirmed(`${verb} ${model}?`, words(now), verb, what === "unload"))) return;
  say(`${verb}ing ${model} …`, "wait");
  for (;;) {
    const answer = await post(`v2/repository/models/${encodeURIComponent(model)}/${what}`);
    if (answer.ok) return say(`${model} ${done}.`);
    if (!answer.key) return say(`${verb}ing ${model} failed: ${answer.why}`, "bad");
    say(answer.why, "bad");
    if (!(await askKey(`${verb}ing needs an admin key. The server said: ${answer.why}`))) return;
    renew();
  }
}

async function post(path) {
  try {
    const headers = { "Content-Type": "application/json" };
    const response = await ask(path, key(), { method: "POST", headers, body: "{}" });
    if (response.ok) return { ok: true };
    return { key: response.status === 401 || response.status === 403, why: await wrong(response) };
  } catch {
    return { why: "the server cannot be reached" };
  }
}
