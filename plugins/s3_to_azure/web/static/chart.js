// Charts as plain SVG. Their figures are on the page as text too, so a screen reader gets each chart as one image.

import { dateTime, minuteOfDay, rate, secondOfDay, size } from "./format.js";
import { h, useState } from "./react.js";

const WIDTH = 1080;
const HEIGHT = 190;
const LEFT = 78;
const BOTTOM = 24;
const TOP = 10;
const PLOT_WIDTH = WIDTH - LEFT - 8;
const PLOT_HEIGHT = HEIGHT - BOTTOM - TOP;

/** The axis' end: the next larger 1, 2, 2.5, 5 or 10 times a power of ten, in the unit of 1024 that fits the value. */
function ceiling(value) {
  if (!(value > 0)) return 1024;
  const unit = 1024 ** Math.max(0, Math.floor(Math.log(value) / Math.log(1024)));
  const inUnits = value / unit;
  const step = 10 ** Math.floor(Math.log10(inUnits));
  return [1, 2, 2.5, 5, 10].find((factor) => factor * step >= inUnits) * step * unit;
}

const y = (value, top) => TOP + PLOT_HEIGHT * (1 - value / top);

function Axis({ top, format }) {
  return [0, 0.5, 1].map((share) =>
    h(
      "g",
      { key: share },
      h("line", { className: "s3az-grid", x1: LEFT, x2: LEFT + PLOT_WIDTH, y1: y(share * top, top), y2: y(share * top, top) }),
      h("text", { x: LEFT - 8, y: y(share * top, top) + 4, textAnchor: "end" }, share ? format(share * top) : "0"),
    ),
  );
}

function Frame({ label, children, onLeave }) {
  return h(
    "svg",
    {
      className: "s3az-chart",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": label,
      onMouseLeave: onLeave,
    },
    children,
  );
}

/** Bytes per second over time. */
export function ThroughputChart({ throughput }) {
  const [at, setAt] = useState(null);
  const { began_at: began, step_s: step, bytes_per_second: values } = throughput;
  const seconds = step * values.length;
  const time = (second) => (seconds < 600 ? secondOfDay : minuteOfDay)(new Date(1000 * (began + second)));
  const highest = Math.max(...values);
  const top = ceiling(highest);
  const x = (index) => LEFT + (PLOT_WIDTH * index) / values.length;
  // Steps, not slopes: each value is the average over its interval.
  const outline = values.map((value, index) => `L${x(index)},${y(value, top)}H${x(index + 1)}`).join("");
  const area = `M${LEFT},${y(0, top)}${outline}V${y(0, top)}Z`;
  const line = `M${outline.slice(1)}`;
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const shown = at !== null && at < values.length ? at : null;

  const move = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const index = Math.floor((values.length * (event.clientX - box.left)) / box.width);
    setAt(Math.max(0, Math.min(values.length - 1, index)));
  };
  return h(
    Frame,
    {
      label: `Throughput from ${time(0)} to ${time(seconds)}, peak ${rate(highest)}`,
      onLeave: () => setAt(null),
    },
    h(Axis, { top, format: rate }),
    h("path", { className: "s3az-area", d: area }),
    h("path", { className: "s3az-line", d: line }),
    ticks.map((share) =>
      h(
        "text",
        {
          key: share,
          x: LEFT + PLOT_WIDTH * share,
          y: HEIGHT - 6,
          textAnchor: share === 0 ? "start" : share === 1 ? "end" : "middle",
        },
        time(seconds * share),
      ),
    ),
    shown !== null &&
      h(
        "g",
        { "aria-hidden": true },
        h("line", { className: "s3az-cursor", x1: x(shown + 0.5), x2: x(shown + 0.5), y1: TOP, y2: TOP + PLOT_HEIGHT }),
        h("circle", { className: "s3az-dot", cx: x(shown + 0.5), cy: y(values[shown], top), r: 4 }),
        h(
          "text",
          {
            className: "s3az-value",
            x: x(shown + 0.5) + (shown > values.length / 2 ? -8 : 8),
            y: TOP + 12,
            textAnchor: shown > values.length / 2 ? "end" : "start",
          },
          `${rate(values[shown])} at ${time(step * (shown + 0.5))}`,
        ),
      ),
    h("rect", { x: LEFT, y: TOP, width: PLOT_WIDTH, height: PLOT_HEIGHT, fill: "transparent", onMouseMove: move }),
  );
}

const BAR_GAP = 2;

/** Bytes of each run, oldest first; a click opens the run. */
export function RunsChart({ runs, onOpen }) {
  const ordered = [...runs].reverse();
  const bytes = (run) => run.bytes_sent + run.bytes_resumed;
  const highest = Math.max(...ordered.map(bytes));
  const top = ceiling(highest);
  const slot = Math.min(48, PLOT_WIDTH / ordered.length);
  const bar = (run, index) => {
    const place = { x: LEFT + slot * index + BAR_GAP / 2, width: Math.max(1, slot - BAR_GAP) };
    const sent = y(run.bytes_sent, top);
    const all = y(bytes(run), top);
    const foot = TOP + PLOT_HEIGHT;
    const isFailed = run.state === "failed";
    const title = `${dateTime(run.started_at)}: ${run.state}, ${size(run.bytes_sent)} sent, ${size(run.bytes_resumed)} resumed`;
    return h(
      "g",
      { key: `${run.dag_id} ${run.run_id}`, className: "s3az-run", onClick: () => onOpen(run) },
      h("title", null, title),
      h("rect", { ...place, y: TOP, height: PLOT_HEIGHT, fill: "transparent" }),
      h("rect", { ...place, className: isFailed ? "s3az-fill-bad" : "s3az-fill-busy", y: sent, height: foot - sent }),
      h("rect", { ...place, className: "s3az-fill-resumed", y: all, height: sent - all }),
      // A failed run that sent nothing must be visible too.
      isFailed && h("rect", { ...place, className: "s3az-fill-bad", y: foot - 4, height: 4 }),
    );
  };
  return h(
    Frame,
    { label: `Bytes of ${ordered.length} runs, oldest first, at most ${size(highest)}; the table below has the figures` },
    h(Axis, { top, format: size }),
    ordered.map(bar),
    h("text", { x: LEFT, y: HEIGHT - 4, textAnchor: "start" }, dateTime(ordered[0].started_at)),
    ordered.length > 8 &&
      h(
        "text",
        { x: Math.min(LEFT + PLOT_WIDTH, LEFT + slot * ordered.length), y: HEIGHT - 4, textAnchor: "end" },
        dateTime(ordered.at(-1).started_at),
      ),
  );
}
