"use strict";
// The live page. Everything comes from /events; connections come from /connections while their table is open.

// Connections of a page of their table.
const CONNECTIONS_SHOWN_MAX = 500;
// The proxy lists no more than these.
const CONNECTIONS_LISTED_MAX = 10000;
// From so many servers on they stand by upstream, and can be looked for.
const SERVERS_GROUPED_MIN = 25;
// An upstream with more shows as many of those that are not up only, until it is opened.
const GROUP_OPEN_MAX = 12;
const CONNECTIONS_INTERVAL_MS = 2000;
const RETRY_INTERVAL_MS = 5000;
// Characters of a table's cell from which on it may be cut off at the end.
const LONG_MIN = 12;
// Characters of a finding in the page's title: a tab has room for few.
const HEADLINE_MAX = 60;
// A connection may be dead and nobody says so, as after a phone has slept. Events come each second.
const SILENCE_MAX_MS = 10000;
// From this age on it is said how old what is shown is.
const AGE_SAID_MIN_MS = 3000;

const $ = (id) => document.getElementById(id);

function element(name, classes, text) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Writes only what has changed, so that a selection or a reader's place isn't lost.
function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1).trimEnd()}…` : text);

// A number and its unit stay on one line.
const together = (text) => text.replaceAll(/(\d) (%|[kMGTP]?B\b)/g, "$1\u00a0$2");
const percent = (ratio) => `${Math.round(ratio * 100)}\u00a0%`;
const whole = (count) => Math.round(count).toLocaleString("en");

// As `percent`, for parts that may be small.
const finePercent = (ratio) => (ratio > 0 && ratio < 0.0995 ? `${(ratio * 100).toFixed(1)}\u00a0%` : percent(ratio));

function rate(perSecond) {
  if (perSecond === 0) return "0";
  return perSecond < 10 ? perSecond.toFixed(1) : whole(perSecond);
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (count >= 999.5 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit === 0 || count >= 99.5 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// A moment, by the clock that findings and the log have; with its day, where that is not today.
function clock(seconds) {
  const [day, time] = new Date(seconds * 1000).toISOString().split(/[T.]/);
  const today = new Date().toISOString().startsWith(day);
  return `${today ? "" : `${day} `}${time} UTC`;
}

// A time that is mostly much less than a second.
function brief(seconds) {
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  return seconds >= 0.01 ? `${Math.round(seconds * 1000)} ms` : `${(seconds * 1000).toFixed(1)} ms`;
}

// ---- colours

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : prefersDark.matches;
}

function nameTheme() {
  const other = isDark() ? "light" : "dark";
  say($("theme"), other);
  $("theme").setAttribute("aria-label", `change to ${other} colours`);
}

$("theme").addEventListener("click", () => {
  const other = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = other;
  // Storage may be forbidden; then the choice is of this page only.
  try { localStorage.setItem("theme", other); } catch { /* see above */ }
  nameTheme();
  draw();
});
try {
  const kept = localStorage.getItem("theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
} catch { /* as above */ }
prefersDark.addEventListener("change", () => { nameTheme(); draw(); });
nameTheme();

// ---- what is known

let state = null;
let history = [];
let hour = [];
const points = () => (step === HOUR_STEP ? hour : history);

// ---- header and words

function showHeader() {
  say($("version"), state.version);
  $("host-fact").hidden = !state.host;
  say($("host"), state.host ?? "");
  say($("scheduler"), state.scheduler);
  say($("mode"), `${state.mode}${state.pinned ? ", pinned" : ""}`);
  say($("workers"), whole(state.cores.length));
  say($("uptime"), span(state.uptime_seconds));
  say($("connections"), whole(state.connections));
  say($("bytes-in"), `${bytes(state.bytes_in)}/s`);
  say($("bytes-out"), `${bytes(state.bytes_out)}/s`);
}

const levelNames = { alarm: "Act now", warning: "Watch", good: "Good" };
let said = "";

// How long a finding is there already: an element of its own, so that the words stay as they are.
function showFindingAges() {
  document.querySelectorAll("#findings .finding").forEach((shown, index) => {
    const finding = state.findings[index];
    const since = finding?.since;
    const seconds = Date.now() / 1000 - since;
    say(shown.querySelector(".since"), since && !finding.over && seconds >= 1 ? `for ${span(seconds)}` : "");
  });
}

function showFindings() {
  // A screen reader hears what is new, and not the same words each second.
  const now = JSON.stringify(state.findings);
  if (now === said) return showFindingAges();
  said = now;
  const line = (classes, label, text) => {
    const made = element("div", classes);
    made.append(element("b", "", `${label} `), together(text));
    return made;
  };
  $("findings").replaceChildren(...state.findings.map((finding) => {
    const made = element("article", `finding ${finding.level}${finding.over ? " over" : ""}`);
    const level = levelNames[finding.level] ?? finding.level;
    made.append(element("span", "level", finding.over ? "Just over" : level));
    const what = element("span", "what", together(finding.what));
    const since = element("span", "since");
    since.setAttribute("aria-hidden", "true");
    what.append(" ", since);
    made.append(what);
    if (finding.why) made.append(line("why", "Why:", finding.why));
    if (finding.remedy) made.append(line("remedy", "What helps:", finding.remedy));
    return made;
  }));
  const first = state.findings[0];
  const { host } = state;
  document.title = first && first.level !== "good" && !first.over
    ? `${host ? `${host}: ` : ""}${cut(first.what, HEADLINE_MAX)} – corelane` : `${host ? `${host} – ` : ""}corelane ${state.version}`;
  showFindingAges();
}

function showAdvice() {
  const advice = state.advice ?? [];
  $("advice").hidden = advice.length === 0;
  say($("advice"), advice.length ? `Adviser: ${advice.join(" ")}` : "");
}

// ---- cores and imbalance

let cores = [];
const heat = new Heat($("heat"), $("heat-at"));
const isMany = () => cores.length >= HEAT_MIN;

function makeCore(index) {
  const item = element("li", "core");
  item.dataset.core = index;
  const top = element("div", "top");
  const name = element("strong", "", `core ${index}`);
  const cpu = element("span", "quiet cpu");
  const then = element("span", "then");
  const now = element("span", "now", "–");
  const plot = element("div", "plot");
  plot.setAttribute("role", "img");
  const detail = element("div", "detail");
  top.append(name, cpu, then, now);
  item.append(top, plot, detail);
  return { item, cpu, now, plot, detail, chart: new Chart(plot, STRIP, () => [0, 1], then, percent) };
}

// What the map's colours mean.
function showLegend() {
  const [warm, hot] = [percent(limits.warm), percent(limits.hot)];
  const words = [["good", `busy for less than ${warm} of the time`], ["warning", `from ${warm}`], ["alarm", `from ${hot}`]];
  $("heat-legend").replaceChildren(...words.flatMap(([level, text]) => {
    const sign = element("span", level, "■");
    return [sign, ` ${text}`];
  }), "; the brighter, the busier");
}

function showCores() {
  if (cores.length !== state.cores.length) {
    for (const core of cores) core.chart.plot.destroy();
    cores = state.cores.map((_, index) => makeCore(index));
    $("core-list").replaceChildren(...cores.map((core) => core.item));
    $("core-list").classList.toggle("many", isMany());
    $("heat").hidden = $("heat-at").hidden = $("heat-legend").hidden = !isMany();
    showLegend();
  }
  if (isMany()) {
    const used = state.cores.map((core) => core.utilization);
    const busiest = used.indexOf(Math.max(...used));
    heat.canvas.setAttribute("aria-label",
      `${cores.length} cores over time; now core ${busiest} is the busiest, at ${percent(used[busiest])}`);
  }
  state.cores.forEach((core, index) => {
    const shown = cores[index];
    say(shown.cpu, core.cpu === null ? "" : `CPU ${core.cpu}`);
    say(shown.now, percent(core.utilization));
    const level = levelOf(core.utilization);
    shown.now.className = `now ${level === "good" ? "" : level}`;
    shown.item.classList.toggle("hot", core.utilization_10s >= limits.hot);
    shown.item.title = isMany() ? `${whole(core.connections)} connections, ${bytes(core.bytes)}/s` : "";
    const parts = [
      `${whole(core.connections)} connections`,
      `${bytes(core.bytes)}/s`,
      `${rate(core.accepts)} accepts/s`,
    ];
    if (core.migrations > 0) parts.push(`${rate(core.migrations)} moved/s`);
    if (core.waits >= 0.01) parts.push(`waits ${percent(core.waits)} for its CPU`);
    parts.push(`${percent(core.utilization_10s)} over ten seconds`);
    say(shown.detail, parts.join(" · "));
    shown.plot.setAttribute("aria-label",
      `core ${index}: ${percent(core.utilization)} now, ${percent(core.utilization_10s)} in ten seconds`);
  });
}

const figures = [
  {
    key: "ratio", name: "λ, imbalance", detail: (n) => `max/mean − 1: 0 is even, ${n - 1} is one core doing all`,
    text: (value) => value.toFixed(2), least: 0, most: (n) => Math.max(n - 1, 0.1),
  },
  {
    key: "stranded", name: "stranded", detail: () => "max − mean: what the other cores could take over",
    text: percent, least: 0, most: () => 1,
  },
  {
    key: "fairness", name: "Jain's fairness", detail: (n) => `1 is even, ${(1 / n).toFixed(2)} is one core doing all`,
    text: (value) => value.toFixed(2), least: 0, most: () => 1,
  },
];
for (const figure of figures) {
  const made = element("div", "figure");
  const top = element("div", "top");
  figure.now = element("span", "now", "–");
  figure.plot = element("div", "plot");
  figure.plot.setAttribute("role", "img");
  figure.words = element("div", "detail");
  const then = element("span", "then");
  top.append(element("strong", "", figure.name), then, figure.now);
  made.append(top, figure.plot, figure.words);
  $("figures").append(made);
  const range = () => [figure.least, figure.most(cores.length || 1)];
  figure.chart = new Chart(figure.plot, LINE, range, then, figure.text);
}

function showFigures() {
  for (const figure of figures) {
    const value = state.imbalance[figure.key];
    say(figure.now, figure.text(value));
    say(figure.words, figure.detail(state.cores.length));
    figure.plot.setAttribute("aria-label", `${figure.name} is ${figure.text(value)}`);
  }
}

function draw() {
  // A page that nobody sees draws nothing; it is up to date when it is looked at again.
  if (!state || document.hidden) return;
  readColors();
  const known = points();
  if (isMany()) heat.draw(known, cores.length);
  else cores.forEach((core, index) => core.chart.draw(known.map((point) => point.utilization[index] ?? 0)));
  for (const figure of figures) figure.chart.draw(known.map((point) => point.imbalance[figure.key]));
}
document.addEventListener("visibilitychange", draw);

$("span").addEventListener("click", () => {
  step = step === HOUR_STEP ? SECOND_STEP : HOUR_STEP;
  const isHour = step === HOUR_STEP;
  $("span").setAttribute("aria-pressed", String(isHour));
  document.querySelectorAll(".reach").forEach((words) => say(words, isHour ? "hour, of half a minute each" : "two minutes"));
  markEvents();
  draw();
});

function lookBack(key) {
  if (isMany()) {
    const found = heat.look(key) !== undefined;
    if (found) say($("looked-at"), $("heat-at").textContent);
    return found;
  }
  const index = cores[0]?.chart.look(key);
  if (index === undefined) return false;
  const used = cores.map((core) => core.chart.values[index]);
  const busiest = used.indexOf(Math.max(...used));
  // For those who don't see the strips. The page has room for the words of one core only.
  say($("looked-at"), index === null ? "" : `${ago(index)}: core ${busiest} the busiest, at ${percent(used[busiest])}`);
  return true;
}
$("core-list").addEventListener("keydown", (event) => {
  if (!event.altKey && !event.ctrlKey && !event.metaKey && lookBack(event.key)) event.preventDefault();
});
$("core-list").addEventListener("blur", () => lookBack("Escape"));

// ---- tables

// ---- changes

const TOKEN = "token";
// Kept for this tab, and until it is closed.
let token = sessionStorage.getItem(TOKEN) ?? "";

function showToken(said) {
  say($("token-use"), token ? "forget it" : "use it");
  $("token").hidden = Boolean(token);
  say($("token-said"), said ?? (token ? "changes are offered in the tables" : "without one, this page only looks"));
}

// Has the proxy change something. What came of it is said beside the token.
async function change(method, path, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(`/api/v1/${path}`, { method, headers, body: body && JSON.stringify(body) });
    const words = await answer.json();
    if (answer.status === 401) forget(words.error);
    else showToken(words.message ?? words.error);
  } catch (error) {
    showToken(`the proxy can't be asked: ${error.message}`);
  }
  askEvents();
}

function forget(said) {
  token = "";
  sessionStorage.removeItem(TOKEN);
  showToken(said);
  if (state) showTables();
  showConnections();
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (token) return forget();
  token = $("token").value.trim();
  $("token").value = "";
  if (token) sessionStorage.setItem(TOKEN, token);
  showToken();
  if (state) showTables();
  showConnections();
});

// Buttons for what can be done with a row: { name, method, path, body, title }.
function offer(cell, actions) {
  const names = actions.map((action) => action.name).join();
  if (cell.dataset.offers === names) return;
  cell.dataset.offers = names;
  cell.replaceChildren(...actions.map(({ name, method, path, body, title }) => {
    const button = element("button", "", name);
    button.type = "button";
    button.title = title;
    button.setAttribute("aria-label", title);
    button.addEventListener("click", () => change(method, path, body));
    return button;
  }));
}

const mayChange = () => (token ? "yes" : "");
const part = encodeURIComponent;

const serverActions = (row) => {
  if (row.state === "removed") return [];
  const path = `servers/${part(row.upstream)}/${part(row.server)}`;
  const to = (name, wanted) => ({ name, method: "PATCH", path, body: { state: wanted }, title: `${name} ${row.server}` });
  const held = row.state === "draining" || row.state === "maintenance";
  return [...(held ? [to("ready", "ready")] : []), ...(row.state === "draining" ? [] : [to("drain", "drain")]),
    ...(row.state === "maintenance" ? [] : [to("maintain", "maintenance")])];
};
const listenerActions = (row) => {
  const path = `listeners/${part(row.name)}`;
  const to = (name, wanted) => ({ name, method: "PATCH", path, body: { state: wanted }, title: `${name} ${row.name}` });
  return [to("open", "open"), to("pause", "paused"), to("drain", "drained")].filter((one) => one.body.state !== row.state);
};
const connectionActions = (row) => {
  const end = (name, query) => ({ name, method: "DELETE", path: `connections/${row.id}${query}`, title: `${name} the connection of ${row.client}` });
  return [end("close", ""), end("reset", "?reset=true")];
};

// Columns are { title, text: whether it is words, of: row => value, show: (value, row) => text, level: row => class,
// optional: whether it is left out while no row has anything there, actions: row => what its buttons do }.
// A column that is `inGroup` is left out where the lines above the groups say the same; `asks`: the order that the proxy has for it.
// `group` says which group a row is of, and what stands in the line above it: { name: row => text, words: (rows, name) => text,
// isUrgent: row => whether it is to be seen at once, names: () => groups that may have no row }.
class Table {
  constructor(table, columns, key, sorted, descending, group) {
    this.columns = columns;
    this.group = group;
    this.isGrouped = false;
    this.groups = new Map();
    // Groups that somebody has opened or closed.
    this.opened = new Map();
    this.key = key;
    this.sorted = sorted;
    this.descending = descending;
    this.rows = new Map();
    this.data = [];
    const head = element("thead");
    const line = element("tr");
    this.heads = columns.map((column, index) => {
      const cell = element("th", column.text ? "text" : "");
      cell.scope = "col";
      const button = element("button", "", column.title);
      button.type = "button";
      button.addEventListener("click", () => this.sort(index));
      cell.append(button);
      line.append(cell);
      return cell;
    });
    head.append(line);
    this.body = element("tbody");
    table.append(head, this.body);
    this.mark();
  }

  sort(index) {
    this.descending = index === this.sorted ? !this.descending : !this.columns[index].text;
    this.sorted = index;
    this.mark();
    this.show(this.data);
    this.onSort?.();
  }

  mark() {
    this.heads.forEach((head, index) => {
      if (index === this.sorted) head.setAttribute("aria-sort", this.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  show(data) {
    this.data = data;
    const { of } = this.columns[this.sorted];
    const direction = this.descending ? -1 : 1;
    const sorted = [...data].sort((one, other) => {
      const [a, b] = [of(one), of(other)];
      const order = typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      return direction * order;
    });
    this.leaveOut(data);
    const rows = new Map();
    const lines = this.isGrouped ? this.grouped(sorted) : sorted;
    if (!this.isGrouped) this.dropGroups(new Set());
    lines.forEach((row, place) => {
      if (row.isGroup) {
        const there = this.body.children[place];
        if (there !== row.line) this.body.insertBefore(row.line, there ?? null);
        return;
      }
      const name = this.key(row);
      const shown = this.rows.get(name) ?? this.make(name);
      rows.set(name, shown);
      this.columns.forEach((column, index) => {
        const value = column.of(row);
        const cell = shown.cells[index];
        if (cell.hidden !== column.isLeftOut) cell.hidden = column.isLeftOut;
        if (column.actions) {
          cell.className = "text actions";
          offer(cell, column.isLeftOut ? [] : column.actions(row));
          return;
        }
        const text = column.show ? column.show(value, row) : String(value);
        if (cell.textContent !== text) {
          cell.textContent = text;
          if (text.length > LONG_MIN) cell.title = text;
          else cell.removeAttribute("title");
        }
        const classes = `${column.text ? "text" : ""} ${column.level ? column.level(row) : ""}`.trim();
        if (cell.className !== classes) cell.className = classes;
      });
      const there = this.body.children[place];
      if (there !== shown.line) this.body.insertBefore(shown.line, there ?? null);
    });
    for (const [name, shown] of this.rows) if (!rows.has(name)) shown.line.remove();
    this.rows = rows;
  }

  // Rows with a line above each group; the groups with something urgent first, of a closed one only what is urgent.
  grouped(rows) {
    const groups = Map.groupBy(rows, this.group.name);
    for (const name of this.group.names()) if (!groups.has(name)) groups.set(name, []);
    this.dropGroups(groups);
    const urgent = (rows) => rows.filter(this.group.isUrgent);
    const all = [...groups].map(([name, rows]) => ({ name, rows, urgent: urgent(rows) }));
    all.sort((a, b) => (b.urgent.length > 0) - (a.urgent.length > 0));
    return all.flatMap(({ name, rows, urgent }) => {
      const isOpen = this.opened.get(name) ?? rows.length <= GROUP_OPEN_MAX;
      return [this.groupLine(name, rows, isOpen), ...(isOpen ? rows : urgent.slice(0, GROUP_OPEN_MAX))];
    });
  }

  groupLine(name, rows, isOpen) {
    let made = this.groups.get(name);
    if (!made) {
      const line = element("tr", "group");
      const cell = element("th", "text");
      cell.scope = "rowgroup";
      cell.colSpan = this.columns.length;
      const button = element("button");
      button.type = "button";
      const words = element("span", "quiet");
      cell.append(button, " ", words);
      line.append(cell);
      made = { isGroup: true, line, button, words };
      button.addEventListener("click", () => {
        this.opened.set(name, made.button.getAttribute("aria-expanded") !== "true");
        this.show(this.data);
      });
      this.groups.set(name, made);
    }
    say(made.button, name);
    made.button.title = name;
    made.button.setAttribute("aria-expanded", String(isOpen));
    say(made.words, this.group.words(rows, name));
    return made;
  }

  dropGroups(kept) {
    for (const [name, made] of this.groups) {
      if (kept.has(name)) continue;
      made.line.remove();
      this.groups.delete(name);
    }
  }

  // Columns that nobody has anything in take no room.
  leaveOut(data) {
    this.columns.forEach((column, index) => {
      const isSaid = column.inGroup && this.isGrouped;
      const isEmpty = Boolean(column.optional) && data.every((row) => column.of(row) === "");
      column.isLeftOut = isSaid || (isEmpty && index !== this.sorted);
      this.heads[index].hidden = column.isLeftOut;
    });
  }

  make(name) {
    const line = element("tr");
    line.dataset.name = name;
    const cells = this.columns.map((_, index) => {
      const isName = index === 0 || this.columns[index - 1].inGroup;
      const cell = element(isName ? "th" : "td");
      if (isName) cell.scope = "row";
      line.append(cell);
      return cell;
    });
    return { line, cells };
  }
}

const perSecond = (value) => `${bytes(value)}/s`;
// Connections beside how many there may be.
const ofMost = (count, { max_connections: most }) => (most === undefined
  ? whole(count) : `${whole(count)} of ${whole(most)}, ${percent(most ? count / most : 1)}`);
const fullness = ({ connections, max_connections: most }) => (most !== undefined && connections >= 0.9 * most ? "warning" : "");
const listeners = new Table($("listeners"), [
  { title: "listener", text: true, of: (row) => row.name },
  { title: "upstream", text: true, of: (row) => row.upstream },
  { title: "connections", of: (row) => row.connections, show: ofMost, level: fullness },
  { title: "new/s", of: (row) => row.accepts, show: rate },
  { title: "since the start", of: (row) => row.accepted ?? 0, show: whole },
  { title: "from clients", of: (row) => row.bytes_in, show: perSecond },
  { title: "to clients", of: (row) => row.bytes_out, show: perSecond },
  { title: "state", text: true, optional: true, of: (row) => row.state ?? "", level: () => "warning" },
  { title: "waiting", of: (row) => row.waiting, show: whole, level: (row) => (row.waiting > 100 ? "warning" : "") },
  { title: "rejected/s", of: (row) => row.rejects, show: rate, level: (row) => (row.rejects > 0 ? "alarm" : "") },
  { title: "rejected", optional: true, of: (row) => row.rejected || "", show: (count) => (count === "" ? "" : whole(count)) },
  { title: "change", text: true, optional: true, of: mayChange, actions: listenerActions },
], (row) => row.name, 0, false);

// What serves, what is meant to serve nobody, and what fails.
const stateLevels = { up: "good", full: "warning", draining: "warning", maintenance: "warning", removed: "quiet" };
const share = (part) => (part === "" ? "" : finePercent(part));
// How many wait for a place, and how long the first of them has.
const line = (count, row) => {
  if (count === "") return "";
  return row.queue_seconds === undefined ? whole(count) : `${whole(count)}, for ${span(row.queue_seconds)}`;
};
// What becomes of connections that may not stay.
const closingOf = ({ closing }) => {
  if (!closing) return "";
  const left = Math.ceil(closing.until - state.unix_seconds);
  const words = closing.how === "reset" ? "reset" : "closed";
  return `${words} by ${closing.fate}${left > 0 ? `, ${span(left)} left` : ""}`;
};
// By name, with the sums of all of their servers.
let upstreams = new Map();
const servers = new Table($("servers"), [
  { title: "upstream", text: true, inGroup: true, of: (row) => row.upstream },
  { title: "server", text: true, of: (row) => row.server },
  { title: "state", text: true, of: (row) => row.state, level: (row) => stateLevels[row.state] ?? "alarm" },
  { title: "connections", of: (row) => row.connections, show: ofMost, level: fullness },
  { title: "new/s", of: (row) => row.connects, show: rate },
  { title: "rate", of: (row) => row.bytes_in + row.bytes_out, show: perSecond },
  { title: "failed/s", of: (row) => row.failures, show: rate, level: (row) => (row.failures > 0 ? "alarm" : "") },
  { title: "since", optional: true, of: (row) => row.since ?? "", show: (since) => (since === "" ? "" : `for ${span(Math.max(0, state.unix_seconds - since))}`) },
  { title: "why", text: true, optional: true, of: (row) => row.why ?? "" },
  { title: "weight", optional: true, of: (row) => row.weight ?? "", show: (weight, row) => (row.configured_weight === undefined ? weight : `${weight.toFixed(1)} of ${row.configured_weight}`) },
  { title: "share", optional: true, of: (row) => row.had ?? "", show: share },
  { title: "by weight", optional: true, of: (row) => row.wanted ?? "", show: share },
  { title: "queue", optional: true, of: (row) => row.queue ?? "", show: line, level: (row) => (row.queue > 0 ? "warning" : "") },
  { title: "check took", optional: true, of: (row) => row.check_seconds ?? "", show: (seconds) => (seconds === "" ? "" : brief(seconds)) },
  { title: "its connections", text: true, optional: true, of: closingOf, level: () => "warning" },
  { title: "ejected", optional: true, of: (row) => row.ejections ?? "", show: (count) => (count === "" ? "" : `${whole(count)} times`) },
  { title: "change", text: true, optional: true, of: mayChange, actions: serverActions },
], (row) => `${row.upstream} ${row.server}`, 2, false, {
  name: (row) => row.upstream,
  isUrgent: (row) => row.state !== "up" && row.state !== "removed",
  // Where rows are looked for, only those that have some.
  names: () => (wantedServers() ? [] : upstreams.keys()),
  // Sums come from the proxy: of all servers, not only of those that it has sent, or that are looked for.
  words: (rows, name) => {
    const all = upstreams.get(name);
    if (!all) return "";
    const count = all.servers + (all.removed ?? 0);
    const shown = wantedServers() ? `${whole(rows.length)} of ${whole(count)} match · `
      : rows.length < count ? `${whole(rows.length)} of ${whole(count)} listed · ` : "";
    return `${shown}${whole(all.up)} of ${whole(all.servers)} up · ${whole(all.connections)} connections · ${
      rate(all.connects)} new/s · ${perSecond(all.bytes_in + all.bytes_out)}`;
  },
});

const goesTo = (row) => {
  const target = ({ upstream, share }) => (share === undefined ? upstream : `${upstream} ${percent(share)}`);
  return row.to.length ? row.to.map(target).join(", ") : "refused";
};
const routes = new Table($("routes"), [
  { title: "listener", text: true, of: (row) => row.listener },
  { title: "route", text: true, of: (row) => row.route || "none of them" },
  { title: "for", text: true, of: (row) => row.asks, show: (asks, row) => asks || (row.route === "" || row.route === "default" ? "the rest" : "all") },
  { title: "to", text: true, of: goesTo, level: (row) => (row.to.length ? "" : "quiet") },
  { title: "connections", of: (row) => row.connections, show: whole },
  { title: "new/s", of: (row) => row.accepts, show: rate },
], (row) => `${row.listener} ${row.route}`, 0, false);

const connectionTable = new Table($("connection-table"), [
  { title: "client", text: true, of: (row) => (row.peer === row.client ? row.client : `${row.client} by ${row.peer}`) },
  { title: "listener", text: true, of: (row) => row.listener },
  { title: "name (SNI)", text: true, optional: true, of: (row) => row.sni ?? "" },
  { title: "ALPN", text: true, optional: true, of: (row) => row.alpn ?? "" },
  { title: "route", text: true, optional: true, of: (row) => row.route ?? "" },
  { title: "server", text: true, of: (row) => row.server ?? "" },
  { title: "core", of: (row) => row.core },
  { title: "age", asks: "age", of: (row) => row.age_seconds, show: span },
  { title: "idle", asks: "idle", of: (row) => row.idle_seconds, show: span },
  { title: "bytes", asks: "bytes", of: (row) => row.bytes_in + row.bytes_out, show: bytes },
  { title: "rate", of: (row) => row.rate, show: perSecond },
  { title: "state", text: true, of: (row) => row.state },
  { title: "change", text: true, optional: true, of: mayChange, actions: connectionActions },
], (row) => String(row.id), 10, true);

const eventTable = new Table($("changes"), [
  { title: "when", text: true, of: (row) => row.at, show: clock },
  { title: "what", text: true, of: (row) => row.what },
  { title: "by", text: true, of: (row) => row.by },
], (row) => String(row.number), 0, true);

function showTables() {
  listeners.show(state.listeners);
  routes.show(state.routes ?? []);
  $("route-section").hidden = !state.routes?.length;
  say($("routes-left-out"), state.routes_left_out ? `· ${whole(state.routes_left_out)} more, which are less busy, are not listed` : "");
  upstreams = new Map((state.upstreams ?? []).map((one) => [one.name, one]));
  showServers();
  const [listed, left] = [state.servers.length, state.servers_left_out];
  say($("left-out"), left ? `· ${whole(listed)} of ${whole(listed + left)} servers are listed: what is down first, then the busiest` : "");
}

function showServers() {
  const isMany = state.servers.length >= SERVERS_GROUPED_MIN;
  servers.isGrouped = isMany;
  $("server-find").hidden = !isMany;
  const wanted = isMany ? wantedServers() : "";
  const matches = (row) => [row.upstream, row.server, row.state, row.why ?? ""].join(" ").toLowerCase().includes(wanted);
  const rows = wanted ? state.servers.filter(matches) : state.servers;
  servers.show(rows);
  say($("servers-shown"), wanted ? `${whole(rows.length)} of ${whole(state.servers.length)}${
    state.servers_left_out ? " that are listed" : ""}` : "");
}
const wantedServers = () => $("server-filter").value.trim().toLowerCase();
$("server-filter").addEventListener("input", showServers);

// ---- connections

let page = 0;
let connections = { total: 0, connections: [], find: "" };
let counted = { at: 0, bytes: new Map() };

// What the proxy is asked to order by; nothing: it has no order for that column, and only the page that is shown is in it.
const wantedSort = () => connectionTable.columns[connectionTable.sorted].asks;
connectionTable.onSort = () => {
  showConnections();
  turn(0);
};

function showConnections() {
  const wanted = wantedConnections();
  // Until the proxy has looked among all, those that are here are looked at.
  const isAnswered = connections.find === wanted;
  const matches = (row) =>
    [row.client, row.peer, row.listener, row.sni ?? "", row.alpn ?? "", row.route ?? "", row.server ?? "", `core ${row.core}`, row.state]
      .join(" ").toLowerCase().includes(wanted);
  const rows = isAnswered ? connections.connections : connections.connections.filter(matches);
  connectionTable.show(rows);
  const found = isAnswered ? connections.total : rows.length;
  const all = Math.max(state?.connections ?? 0, found);
  say($("shown"), wanted && found !== all ? `${whole(found)} of ${whole(all)}` : whole(connections.total));
  const last = Math.ceil(Math.min(connections.total, CONNECTIONS_LISTED_MAX) / CONNECTIONS_SHOWN_MAX) - 1;
  $("pages").hidden = last < 1 && page === 0;
  say($("page-at"), `page ${page + 1} of ${Math.max(last, page) + 1}`);
  say($("page-order"), wantedSort() ? "" : "pages are by bytes; what is chosen orders each page in itself");
  $("page-before").disabled = page === 0;
  $("page-after").disabled = page >= last;
}

function turn(to) {
  page = Math.max(0, to);
  askConnectionsNow();
}
$("page-before").addEventListener("click", () => turn(page - 1));
$("page-after").addEventListener("click", () => turn(page + 1));

function countConnections(now) {
  const seconds = (now - counted.at) / 1000;
  const sums = new Map();
  for (const row of connections.connections) {
    const sum = row.bytes_in + row.bytes_out;
    const before = counted.bytes.get(row.id);
    row.rate = before === undefined || seconds <= 0 ? 0 : Math.max(0, sum - before) / seconds;
    sums.set(row.id, sum);
  }
  counted = { at: now, bytes: sums };
}

const wantedConnections = () => $("filter").value.trim().toLowerCase();

// One at a time: what an older question brings is not shown after what a newer one has brought.
let asked = 0;
let nextAsk;

function askConnectionsNow() {
  clearTimeout(nextAsk);
  askConnections();
}

async function askConnections() {
  const section = $("connection-section");
  let again = true;
  asked += 1;
  const mine = asked;
  if (!document.hidden && (section.hidden || section.open)) {
    try {
      const offset = page * CONNECTIONS_SHOWN_MAX;
      const find = wantedConnections();
      const order = wantedSort() && !connectionTable.descending ? "ascending" : "descending";
      const query = `offset=${offset}&sort=${wantedSort() ?? "bytes"}&order=${order}&find=${part(find)}`;
      const answer = await fetch(`/connections?limit=${CONNECTIONS_SHOWN_MAX}&${query}`,
        { signal: AbortSignal.timeout(SILENCE_MAX_MS) });
      if (mine !== asked) return;
      // A proxy that has no such table won't get one while it runs.
      if (answer.status === 404) again = false;
      if (answer.ok) {
        const listed = await answer.json();
        if (mine !== asked) return;
        connections = { ...listed, find };
        countConnections(performance.now());
        section.hidden = false;
        showConnections();
      }
    } catch { /* The proxy is away; the events' connection tells so. */ }
  }
  if (mine !== asked) return;
  if (!again) section.hidden = true;
  else nextAsk = setTimeout(askConnections, CONNECTIONS_INTERVAL_MS);
}
$("filter").addEventListener("input", () => { showConnections(); turn(0); });

// ---- what has changed lately

const EVENTS_SHOWN_MAX = 100;
const EVENTS_INTERVAL_MS = 5000;
let recent = [];

async function askEvents() {
  if (document.hidden) return;
  try {
    const answer = await fetch(`/api/v1/events?limit=${EVENTS_SHOWN_MAX}`, { signal: AbortSignal.timeout(SILENCE_MAX_MS) });
    if (!answer.ok) return;
    recent = (await answer.json()).events;
    say($("changes-count"), `${whole(recent.length)} lately; those of the time that the charts show are lines in them`);
    eventTable.show(recent);
    markEvents();
  } catch { /* The proxy is away; the events' connection tells so. */ }
}

// Where the charts have marks, in seconds from now.
function markEvents() {
  const now = state?.unix_seconds ?? 0;
  marks = recent.map((event) => (event.at - now) / step).filter((age) => now > 0 && age >= AGES[0] && age <= 1);
}
setInterval(askEvents, EVENTS_INTERVAL_MS);

// ---- events

let shownAt = 0;

// A page whose proxy is away still shows what it last had: that must not be taken for now.
function showAge() {
  const age = Date.now() - shownAt;
  const isOld = shownAt > 0 && age >= AGE_SAID_MIN_MS;
  $("stale").hidden = !isOld;
  if (!isOld) return;
  say($("stale-at"), `No news from the proxy: what is shown is of ${clock(shownAt / 1000)}`);
  // Not for readers of the screen, who would hear it each second.
  say($("stale-age"), `and ${span(age / 1000)} old.`);
  if ($("link").textContent !== "connecting…") link("no news", false);
  if (!document.title.startsWith("(old) ")) document.title = `(old) ${document.title}`;
}
setInterval(showAge, 1000);

function link(text, live) {
  say($("link"), text);
  $("link").className = live ? "live" : "lost";
  document.body.classList.toggle("stale", !live);
}

function listen() {
  const source = new EventSource("/events");
  let first = true;
  const beginAnew = () => {
    link("connecting…", false);
    source.close();
    listen();
  };
  let silence = setTimeout(beginAnew, SILENCE_MAX_MS);
  source.addEventListener("open", () => { first = true; });
  source.addEventListener("message", (event) => {
    clearTimeout(silence);
    silence = setTimeout(beginAnew, SILENCE_MAX_MS);
    state = JSON.parse(event.data);
    limits = state.limits;
    shownAt = Date.now();
    document.title = document.title.replace("(old) ", "");
    showAge();
    // The first event has all that is kept; a proxy that was restarted counts from 1 again.
    history = first ? state.history : history.concat(state.history);
    history = history.slice(-HISTORY_MAX);
    hour = (first ? [] : hour).concat(state.hour ?? []).slice(-HISTORY_MAX);
    first = false;
    link(state.draining ? "draining" : "live", true);
    showHeader();
    showFindings();
    showAdvice();
    showCores();
    showFigures();
    showTables();
    markEvents();
    draw();
  });
  source.addEventListener("error", () => {
    link("connecting…", false);
    // Refused for good, as by "too many pages": the browser doesn't try again.
    if (source.readyState === EventSource.CLOSED) {
      clearTimeout(silence);
      setTimeout(listen, RETRY_INTERVAL_MS);
    }
  });
}

listen();
askConnections();
showToken();
askEvents();
