"use strict";
// What is over time, drawn by uPlot: a strip for each core, a line for each figure. All of them show the same two
// minutes and have one cursor.

const HISTORY_MAX = 120;
// What a core is coloured by, as the server judges; it comes with the state.
let limits = { hot: 1, warm: 1 };
// What a core needs to be seen in its strip at all.
const STRIP_MIN = 0.02;

// Seconds from now, the newest last. They stay, and what is known moves through them.
const AGES = Array.from({ length: HISTORY_MAX }, (_, index) => index + 1 - HISTORY_MAX);

// When something was changed, in seconds from now: a line there in each chart.
let marks = [];

function drawMarks(plot) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = palette.accent;
  ctx.setLineDash([3, 3]);
  ctx.beginPath();
  for (const age of marks) {
    const x = Math.round(plot.valToPos(age, "x", true));
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
  }
  ctx.stroke();
  ctx.restore();
}

const ago = (index) => (AGES[index] === 0 ? "now" : `${-AGES[index]}\u00a0s ago`);
const levelOf = (used) => (used >= limits.hot ? "alarm" : used >= limits.warm ? "warning" : "good");

// The style's colours as of now. uPlot asks for them each time that it draws.
const palette = {};

function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["good", "warning", "alarm", "accent", "line", "quiet"]) {
    palette[name] = style.getPropertyValue(`--${name}`).trim();
  }
  palette.font = `11px ${getComputedStyle(document.body).fontFamily}`;
}

readColors();

// A column a second, as high as the core was busy.
const STRIP = {
  width: 0,
  fill: () => palette.good,
  paths: uPlot.paths.bars({
    size: [1, Infinity],
    disp: {
      fill: { unit: 3, values: (plot, at) => plot.data[at].map((used) => used !== null && palette[levelOf(used)]) },
    },
  }),
};

const LINE = { width: 1.5, stroke: () => palette.accent };

class Chart {
  // `kind` is STRIP or LINE, `range` returns the least and the most that there can be. `then` is where the value under
  // the cursor is told, in the words of `text`.
  constructor(host, kind, range, then, text) {
    this.values = [];
    this.then = then;
    this.text = text;
    this.plot = new uPlot({
      width: 0,
      height: 0,
      padding: [2, 0, 0, 0],
      legend: { show: false },
      scales: { x: { time: false, range: [AGES[0] - 0.5, 0.5] }, y: { range } },
      series: [{}, { ...kind, points: { show: false } }],
      axes: [
        {
          size: 18, gap: 2, font: palette.font, stroke: () => palette.quiet,
          splits: () => [-90, -60, -30], values: () => ["90 s ago", "1 min ago", "30 s ago"],
          grid: { show: false }, ticks: { size: 3, width: 1, stroke: () => palette.quiet },
        },
        {
          size: 0, space: 1, ticks: { show: false }, values: () => [],
          splits: (plot, axis, least, most) => [0.25, 0.5, 0.75].map((part) => least + part * (most - least)),
          grid: { width: 0.5, stroke: () => palette.line },
        },
      ],
      cursor: {
        y: false, points: { show: false }, drag: { x: false, y: false, setScale: false },
        sync: { key: "all", scales: ["x", null] },
      },
      hooks: { setCursor: [() => this.tell()], draw: [drawMarks] },
    }, [AGES, AGES.map(() => null)], host);
    // Also when the host comes onto the page.
    new ResizeObserver(() => this.plot.setSize({ width: host.clientWidth, height: host.clientHeight })).observe(host);
  }

  draw(values) {
    this.values = [...Array(HISTORY_MAX - values.length).fill(null), ...values];
    const seen = (used) => (used > 0 && used < STRIP_MIN ? STRIP_MIN : used);
    this.plot.setData([AGES, this.values.map(seen)]);
  }

  tell() {
    const index = this.plot.cursor.idx;
    const value = this.values[index] ?? null;
    say(this.then, value === null ? "" : `${ago(index)}: ${this.text(value)}`);
  }

  // Does what the pointer does, for a keyboard. Returns the second that is looked at then, or undefined when the key
  // is none of these.
  look(key) {
    const last = HISTORY_MAX - 1;
    const first = this.values.findIndex((value) => value !== null);
    const now = this.plot.cursor.idx ?? last;
    const wanted = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: first, End: last, Escape: null }[key];
    if (wanted === undefined || first < 0) return undefined;
    const index = wanted === null ? null : Math.min(Math.max(wanted, first), last);
    const left = index === null ? -10 : this.plot.valToPos(AGES[index], "x");
    this.plot.setCursor({ left, top: index === null ? -10 : 0 }, true, true);
    return index;
  }
}
