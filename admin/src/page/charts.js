"use strict";
// What is over time, drawn by uPlot: a strip for each core, a line for each figure; and one map of all the cores, where they are
// many. All of them show the same two minutes, or the same hour, and have one cursor.

const HISTORY_MAX = 120;
// Seconds of a point: of the last two minutes, and of the last hour.
const SECOND_STEP = 1;
const HOUR_STEP = 30;
let step = SECOND_STEP;
// What a core is coloured by, as the server judges; it comes with the state.
let limits = { hot: 1, warm: 1 };
// What a core needs to be seen in its strip at all.
const STRIP_MIN = 0.02;

// Points from now, the newest last. They stay, and what is known moves through them.
const AGES = Array.from({ length: HISTORY_MAX }, (_, index) => index + 1 - HISTORY_MAX);

// When something was changed, in points from now: a line there in each chart.
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

function ago(index) {
  const seconds = -AGES[index] * step;
  if (seconds === 0) return "now";
  return step === HOUR_STEP ? `${seconds / 60}\u00a0min ago` : `${seconds}\u00a0s ago`;
}
const tickNames = () => (step === HOUR_STEP
  ? ["45 min ago", "30 min ago", "15 min ago"] : ["90 s ago", "1 min ago", "30 s ago"]);
// The columns of a chart: those that are not known are null, and the oldest.
const columnsOf = (values) => [...Array(HISTORY_MAX - values.length).fill(null), ...values];
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
          splits: () => [-90, -60, -30], values: tickNames,
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
    this.values = columnsOf(values);
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

// From so many cores on, a map shows all of them, and each has only a tile besides.
const HEAT_MIN = 17;

// A row a core, a column a point, as bright as the core was busy, in the colours of the strips.
class Heat {
  constructor(host, said) {
    this.host = host;
    this.said = said;
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    const part = (classes) => {
      const made = document.createElement("div");
      made.className = classes;
      made.setAttribute("aria-hidden", "true");
      return made;
    };
    [this.rows, this.axis] = [part("rows"), part("axis")];
    this.place = document.createElement("div");
    this.place.append(this.canvas);
    host.append(this.rows, this.place, this.axis);
    this.points = [];
    this.cores = 0;
    this.cursor = null;
    this.tell(null, null);
    new ResizeObserver(() => this.paint()).observe(this.place);
    this.canvas.addEventListener("pointermove", (event) => {
      const { left, top, width, height } = this.canvas.getBoundingClientRect();
      const index = Math.floor((event.clientX - left) / width * HISTORY_MAX);
      this.tell(Math.min(index, HISTORY_MAX - 1), Math.floor((event.clientY - top) / height * this.cores));
    });
    this.canvas.addEventListener("pointerleave", () => this.tell(null, null));
  }

  draw(points, cores) {
    this.points = columnsOf(points);
    this.cores = cores;
    this.label();
    this.paint();
  }

  // Which row is which core's, and which column which time's.
  label() {
    const texts = [0, 1, 2, 3, 4].map((quarter) => String(Math.round((this.cores - 1) * quarter / 4)));
    texts[0] = "core 0";
    for (const [place, all] of [[this.rows, texts], [this.axis, [...tickNames(), "now"]]]) {
      if (place.textContent === all.join("")) continue;
      place.replaceChildren(...all.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    }
  }

  paint() {
    const { clientWidth: width } = this.place;
    if (this.host.hidden || width === 0 || this.cores === 0) return;
    const row = Math.max(3, Math.min(14, Math.floor(420 / this.cores)));
    const scale = globalThis.devicePixelRatio || 1;
    this.canvas.width = width * scale;
    this.canvas.height = row * this.cores * scale;
    this.canvas.style.height = `${row * this.cores}px`;
    const ctx = this.canvas.getContext("2d");
    ctx.scale(scale, scale);
    const column = width / HISTORY_MAX;
    this.points.forEach((point, index) => {
      if (point === null) return;
      for (let core = 0; core < this.cores; core += 1) {
        const used = point.utilization[core] ?? 0;
        ctx.globalAlpha = Math.min(1, 0.08 + used * 0.92);
        ctx.fillStyle = palette[levelOf(used)];
        ctx.fillRect(index * column, core * row, column + 0.5, row - (row > 5 ? 1 : 0));
      }
    });
    ctx.globalAlpha = 1;
    ctx.fillStyle = palette.quiet;
    if (this.cursor !== null) ctx.fillRect((this.cursor + 0.5) * column, 0, 1, row * this.cores);
  }

  // What is under the pointer or the keys' cursor: of one core, or of the busiest.
  tell(index, core) {
    this.cursor = index;
    this.paint();
    const point = index === null ? null : this.points[index];
    if (!point) return say(this.said, "a row for each core, core 0 at the top; now is at the right");
    const used = point.utilization;
    const busiest = used.indexOf(Math.max(...used));
    const of = (one, words) => `core ${one}${words} at ${percent(used[one] ?? 0)}`;
    say(this.said, core === null
      ? `${ago(index)}: ${of(busiest, " the busiest,")}`
      : `${ago(index)}: ${of(core, "")}; ${of(busiest, " the busiest,")}`);
  }

  // As a chart's, for a keyboard.
  look(key) {
    const last = HISTORY_MAX - 1;
    const first = this.points.findIndex((point) => point !== null);
    const now = this.cursor ?? last;
    const wanted = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: first, End: last, Escape: null }[key];
    if (wanted === undefined || first < 0) return undefined;
    const index = wanted === null ? null : Math.min(Math.max(wanted, first), last);
    this.tell(index, null);
    return index;
  }
}
