// Formats sizes, counts and times as the tasks' logs do.

const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"];
const whole = new Intl.NumberFormat("en");
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export function size(bytes) {
  const rounded = Math.round(bytes);
  if (rounded < 1024) return `${whole.format(rounded)} ${rounded === 1 ? "byte" : "bytes"}`;
  let value = bytes;
  for (const unit of UNITS) {
    value /= 1024;
    // 1023.95 would be shown as 1,024.0.
    if (value < 1023.95 || unit === UNITS.at(-1)) return `${tenths.format(value)} ${unit}`;
  }
  return "";
}

export const rate = (bytesPerSecond) => `${size(bytesPerSecond)}/s`;

export const count = (number) => whole.format(number);

export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.round(seconds);
  const parts = [
    [86400, 3600, "d", "h"],
    [3600, 60, "h", "min"],
    [60, 1, "min", "s"],
  ];
  for (const [large, small, largeUnit, smallUnit] of parts) {
    if (s >= large) {
      const rest = Math.floor((s % large) / small);
      return `${Math.floor(s / large)} ${largeUnit}${rest ? ` ${rest} ${smallUnit}` : ""}`;
    }
  }
  return `${s} s`;
}

/** A percentage that is 100 only if nothing is left, and 0 only if nothing is done. */
export function percent(part, total) {
  if (!(total > 0)) return 0;
  const share = (100 * part) / total;
  if (share > 0 && share < 1) return 1;
  if (share > 99 && part < total) return 99;
  return Math.min(100, Math.round(share));
}

// As Airflow's UI shows times: in the time zone chosen there, as 2026-11-23 06:00.
function timeFormat(options) {
  const chosen = globalThis.localStorage?.getItem("timezone")?.replaceAll('"', "");
  const all = { hourCycle: "h23", hour: "2-digit", minute: "2-digit", ...options };
  try {
    return new Intl.DateTimeFormat("sv", { ...all, timeZone: chosen || undefined });
  } catch {
    return new Intl.DateTimeFormat("sv", all);
  }
}

const clock = timeFormat({ second: "2-digit" });
const minute = timeFormat({});
const date = timeFormat({ year: "numeric", month: "2-digit", day: "2-digit", hour: undefined, minute: undefined, hourCycle: undefined });
const dateAndMinute = timeFormat({ year: "numeric", month: "2-digit", day: "2-digit" });

export const timeOfDay = (iso) => (iso ? clock.format(new Date(iso)) : "–");
export const minuteOfDay = (date) => minute.format(date);
export const secondOfDay = (date) => clock.format(date);
export const dateTime = (iso) => (iso ? dateAndMinute.format(new Date(iso)) : "–");

/** The day, as `2026-11-23`: such texts have the order of their days. */
export const dateOf = (time) => date.format(new Date(time));

/** `not_found` as `not found`. */
export const words = (code) => code.replaceAll("_", " ");
