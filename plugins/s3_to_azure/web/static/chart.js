// Charts as plain SVG. Their figures are on the page as text too, so a screen reader gets each chart as one image.

import { minuteOfDay, rate, secondOfDay } from "./format.js";
import { h, useEffect, useRef, useState } from "./react.js";

export const HEIGHT = 190;
export const LEFT = 78;
export const TOP = 10;
const RIGHT = 8;
const BOTTOM = 24;
export const PLOT_HEIGHT = HEIGHT - BOTTOM - TOP;
const LEAST_WIDTH = 280;
const NARROW = 420;

/** The axis' end: the next larger 1, 2, 2.5, 5 or 10 times a power of ten, in the unit of 1024 that fits the value. */
export function ceiling(value) {
  if (!(value > 0)) return 1024;
  const unit = 1024 ** Math.max(0, Math.floor(Math.log(value) / Math.log(1024)));
  const inUnits = value / unit;
  const step = 10 ** Math.floor(Math.log10(inUnits));
  return [1, 2, 2.5, 5, 10].find((factor) => factor * step >= inUnits) * step * unit;
}

export const y = (value, top) => TOP + PLOT_HEIGHT * (1 - value / top);

export function Axis({ top, format, width }) {
  return [0, 0.5, 1].map((share) =>
    h(
      "g",
      { key: share },
      h("line", { className: "s3az-grid", x1: LEFT, x2: LEFT + width, y1: y(share * top, top), y2: y(share * top, top) }),
      h("text", { x: LEFT - 8, y: y(share * top, top) + 4, textAnchor: "end" }, share ? format(share * top) : "0"),
    ),
  );
}

/** A chart as wide as its card, in which text keeps its size; `draw(width)` returns what is in it. */
export function Frame({ label, draw, onLeave }) {
  const box = useRef(null);
  const [width, setWidth] = useState(1080);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.max(LEAST_WIDTH, Math.round(entry.contentRect.width))));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  return h(
    "div",
    { ref: box },
    h(
      "svg",
      {
        className: "s3az-chart",
        viewBox: `0 0 ${width} ${HEIGHT}`,
        role: "img",
        "aria-label": label,
        onMouseLeave: onLeave,
      },
      draw(width - LEFT - RIGHT),
    ),
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
  const shown = at !== null && at < values.length ? at : null;
  const move = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const index = Math.floor((values.length * (event.clientX - box.left)) / box.width);
    setAt(Math.max(0, Math.min(values.length - 1, index)));
  };
  const draw = (width) => {
    const x = (index) => LEFT + (width * index) / values.length;
    // Steps, not slopes: each value is the average over its interval.
    const outline = values.map((value, index) => `L${x(index)},${y(value, top)}H${x(index + 1)}`).join("");
    const ticks = width < NARROW ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1];
    return [
      h(Axis, { key: "axis", top, format: rate, width }),
      h("path", { key: "area", className: "s3az-area", d: `M${LEFT},${y(0, top)}${outline}V${y(0, top)}Z` }),
      h("path", { key: "line", className: "s3az-line", d: `M${outline.slice(1)}` }),
      ticks.map((share) =>
        h(
          "text",
          {
            key: share,
            x: LEFT + width * share,
            y: HEIGHT - 6,
            textAnchor: share === 0 ? "start" : share === 1 ? "end" : "middle",
          },
          time(seconds * share),
        ),
      ),
      shown !== null &&
        h(
          "g",
          { key: "cursor", "aria-hidden": true },
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
      h("rect", { key: "pointer", x: LEFT, y: TOP, width, height: PLOT_HEIGHT, fill: "transparent", onMouseMove: move }),
    ];
  };
  return h(Frame, {
    label: `Throughput from ${time(0)} to ${time(seconds)}, peak ${rate(highest)}`,
    draw,
    onLeave: () => setAt(null),
  });
}
