/** The server's events, read from a stream that is opened again whenever it ends. */

const WAITS = [0.5, 1, 2, 4, 8, 15];
const SILENCE = 20; // seconds without a word, a comment included, after which a stream counts as lost

/** Server-sent events of a body: yields {event, data} for each. */
async function* events(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) yield parsed(block);
  }
}

function parsed(block) {
  const found = { event: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, name, value] = /^(event|data): ?(.*)$/.exec(line) ?? [];
    if (name === "event") found.event = value;
    if (name === "data") found.data += value;
  }
  return found;
}

/** A request that carries the key. */
export function ask(path, key, options = {}) {
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  return fetch(path, { cache: "no-store", ...options, headers });
}

/** What the server says was wrong, from a V2 error object or the status. */
export async function wrong(response) {
  try {
    return (await response.json()).error || `status ${response.status}`;
  } catch {
    return `status ${response.status}`;
  }
}

export class Feed {
  #stop = new AbortController();
  #wake = () => {};
  #renewed = false;

  /** `on` has hello(data), past(data), tick(data) and state(name, detail, why); `key()` answers the key of the moment. */
  constructor(path, key, on) {
    this.path = path;
    this.key = key;
    this.on = on;
    addEventListener("online", () => this.#wake());
    document.addEventListener("visibilitychange", () => document.hidden || this.#wake());
    this.#run();
  }

  /** Tries again at once, with the key of the moment. */
  again() {
    this.#renewed = true;
    this.#stop.abort();
    this.#wake();
  }

  async #run() {
    for (let tries = 0; ; ) {
      const began = performance.now();
      const ended = await this.#once();
      if (performance.now() - began > 10_000) tries = 0;
      if (this.#renewed) tries = 0;
      else if (ended.key) {
        this.on.state("key", ended.why);
        await this.#pause(null);
        tries = 0;
      } else {
        const wait = WAITS[Math.min(tries++, WAITS.length - 1)] * (0.8 + Math.random() * 0.4);
        this.on.state("lost", Math.ceil(wait), ended.why);
        await this.#pause(wait);
      }
      this.#renewed = false;
      this.on.state("connecting");
    }
  }

  #pause(seconds) {
    return new Promise((done) => {
      this.#wake = done;
      if (seconds !== null) setTimeout(done, seconds * 1000);
    });
  }

  async #once() {
    this.#stop = new AbortController();
    const stop = this.#stop;
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), SILENCE * 1000);
    };
    heard();
    try {
      const response = await ask(this.path, this.key(), { signal: stop.signal });
      if (response.status === 401 || response.status === 403) return { key: true, why: await wrong(response) };
      if (!response.ok) return { why: await wrong(response) };
      for await (const { event, data } of events(response.body, heard)) this.#tell(event, data);
    } catch {
      /* the network says no more than that it is lost */
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
    return {};
  }

  #tell(event, data) {
    if (event === "hello") {
      this.on.state("live");
      this.on.hello(JSON.parse(data));
    } else if (event === "past") this.on.past(JSON.parse(data));
    else if (event === "tick") this.on.tick(JSON.parse(data));
  }
}
