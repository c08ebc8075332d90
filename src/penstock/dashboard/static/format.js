/** Figures as words: short, of one width where they change, and a dash for what is not known. */

export const DASH = "–";
const formats = new Map();

function number(options) {
  const name = JSON.stringify(options);
  if (!formats.has(name)) formats.set(name, new Intl.NumberFormat("en", options));
  return formats.get(name);
}

const WHOLE = number({ maximumFractionDigits: 0 });
const ONE = number({ minimumFractionDigits: 1, maximumFractionDigits: 1 });
const TWO = number({ minimumFractionDigits: 2, maximumFractionDigits: 2 });
const THREE = number({ maximumSignificantDigits: 3 });

export const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

/** Three digits or so, with k, M or G behind large ones. */
export function short(value) {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  if (size >= 1e9) return THREE.format(value / 1e9) + "G";
  if (size >= 1e6) return THREE.format(value / 1e6) + "M";
  if (size >= 1e4) return THREE.format(value / 1e3) + "k";
  return size >= 10 || size === 0 ? WHOLE.format(value) : ONE.format(value);
}

/** At most three digits and no zeros behind them: for what somebody set. */
export const rounded = (value) => (known(value) ? THREE.format(value) : DASH);

/** A rate each second: small ones with more digits, as 0.03 is not 0. */
export function rate(value) {
  if (known(value) && value > 0 && value < 1) return value < 0.01 ? "<0.01" : TWO.format(value);
  return short(value);
}

export const whole = (value) => (known(value) ? WHOLE.format(value) : DASH);

/** Milliseconds, without the unit. */
export function ms(value) {
  if (!known(value)) return DASH;
  if (value < 1) return TWO.format(value);
  return value < 10 ? ONE.format(value) : WHOLE.format(value);
}

/** Milliseconds with their unit, seconds from ten thousand on. */
export function duration(value) {
  if (!known(value)) return DASH;
  return value >= 1e4 ? `${THREE.format(value / 1e3)} s` : `${ms(value)} ms`;
}

export const percent = (share) => (known(share) ? `${WHOLE.format(share * 100)} %` : DASH);

const digits = (value) => THREE.format(value);

/** Money with three digits or so; small amounts in millionths, as `4.81 µ$`. */
export function money(value, currency) {
  if (!known(value)) return DASH;
  if (value >= 1e-3 || value === 0) return cash(currency, value).format(value);
  return value < 1e-9 ? `<0.001 µ${sign(currency)}` : `${digits(value * 1e6)} µ${sign(currency)}`;
}

/** `$`, or the code of a currency that has no sign. */
function sign(currency) {
  const parts = cash(currency, 0).formatToParts(0);
  return parts.find((part) => part.type === "currency")?.value ?? currency;
}

function cash(currency, value) {
  const large = value >= 1 || value === 0;
  const shape = large
    ? { minimumFractionDigits: 2, maximumFractionDigits: 2 }
    : { minimumSignificantDigits: 3, maximumSignificantDigits: 3 };
  try {
    return number({ style: "currency", currency, currencyDisplay: "narrowSymbol", ...shape });
  } catch {
    return number(shape); // not an ISO 4217 code
  }
}

const scaled = (value, steps) => {
  if (!known(value)) return [DASH, ""];
  const [least, unit] = steps.find(([least]) => value >= least) ?? steps.at(-1);
  return [digits(value / least), unit];
};
const ENERGY = [[3.6e6, "kWh"], [1e3, "kJ"], [1, "J"], [1e-3, "mJ"]];
const WEIGHT = [[1e3, "kg"], [1, "g"], [1e-3, "mg"], [1e-6, "µg"]];
const BYTES = [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]];

/** Each answers number and unit apart. */
export const joules = (value) => (value === 0 ? ["0", "J"] : scaled(value, ENERGY));
export const grams = (value) => (value === 0 ? ["0", "g"] : scaled(value, WEIGHT));
export const bytes = (value) => (value === 0 ? ["0", "B"] : scaled(value, BYTES));
export const joined = ([value, unit]) => (unit ? `${value} ${unit}` : value);

/** `3 d 4 h`, the two largest parts. */
export function span(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [size, unit] = parts[first];
  const head = `${Math.floor(seconds / size)} ${unit}`;
  const [less, small] = parts[first + 1] ?? [0, ""];
  const rest = less && first < 2 ? Math.floor((seconds % size) / less) : 0;
  return rest ? `${head} ${rest} ${small}` : head;
}

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** A moment (epoch seconds) in this browser's zone: the hour today, else with its day. */
export function moment(at, now) {
  const then = new Date(at * 1000);
  const same = then.toDateString() === new Date(now * 1000).toDateString();
  return (same ? TIME : DAY).format(then);
}
