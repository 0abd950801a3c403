// The landing page: bars as a chart, and SQL where the server has it.

import { ask, make, problemOf, wire } from "/static/ask.js";
import { drawBars, figure } from "/static/chart.js";

const EXAMPLES = {
  "tables": "SHOW TABLES",
  "a split": "SELECT session_date, close, adj_close, volume, adj_volume\nFROM adjusted.bars_1d\nWHERE symbol = 'AAPL' AND session_date BETWEEN '2020-08-27' AND '2020-09-01'\nORDER BY 1",
  "refused": "SELECT provider, table_name, rule, count(*) AS rows\nFROM quality.quarantine\nGROUP BY ALL ORDER BY rows DESC",
  "published": "SELECT table_name, owner, count(DISTINCT run_id) AS runs, max(published_at) AS newest\nFROM ops.publications\nGROUP BY ALL ORDER BY 1, 2",
};
const SHOWN_ROWS = 200;
const $ = (selector) => document.querySelector(selector);
let shown = null;
let asked = 0;

function number(text) {
  return text === null || text === undefined ? null : Number(text);
}

function show(element, text) {
  element.hidden = !text;
  element.textContent = text ?? "";
}

function parameters(form) {
  const given = new URLSearchParams();
  for (const name of ["interval", "start", "end", "adjustment", "known_as_of"]) {
    const value = form.elements[name].value;
    if (value) given.set(name, value);
  }
  return given;
}

async function showBars() {
  const form = $("#bars");
  const symbol = form.elements.symbol.value.trim();
  const path = `/api/v1/bars/${encodeURIComponent(symbol)}?${parameters(form)}`;
  $("#command").textContent = `curl "${location.origin}${path}"`;
  const mine = asked += 1;
  const answer = await ask(path);
  if (mine !== asked) return; // a newer question is on its way
  const body = answer.ok ? JSON.parse(answer.text) : null;
  const isEmpty = answer.ok && body.row_count === 0;
  show($("#bars-problem"), answer.ok ? (isEmpty ? "No bars in this range." : "") : problemOf(answer));
  $("#chart").hidden = !answer.ok || isEmpty;
  $("#readout").textContent = "";
  $("#bars-told").textContent = "";
  shown = null;
  if (!answer.ok || isEmpty) return;
  const { columns, metadata } = body;
  const isDaily = !/^\d+(s|m|h|min)$/.test(form.elements.interval.value);
  const label = isDaily ? columns.session_date : columns.ts_open.map((instant) => instant.slice(5, 16).replace("T", " "));
  shown = {
    bars: { label, volume: columns.volume.map(number), factor: columns.price_factor.map(number), text: columns },
    told: {
      price: `price (${columns.currency[0] ?? "its currency"})`, volume: "volume (units)", time: isDaily ? "session" : "open of the bar (UTC)",
      name: `${body.row_count} ${metadata.interval} bars of ${metadata.instrument.symbol}`,
    },
  };
  for (const name of ["open", "high", "low", "close"]) shown.bars[name] = columns[name].map(number);
  redraw();
  const from = [...new Set(columns.provider)].join(", ");
  const view = metadata.known_as_of ? ` · as known ${metadata.known_as_of.slice(0, 10)}` : "";
  const name = metadata.instrument.name ? `${metadata.instrument.name}, ` : "";
  $("#bars-told").textContent =
    `${name}${metadata.instrument.identity} · ${body.row_count} bars · ${metadata.basis.replaceAll("_", " ")} · from ${from}`
    + ` · fresh ${metadata.fresh}${view} · ${Math.round(answer.elapsed)} ms`;
}

function redraw() {
  if (shown) {
    drawBars($("#chart"), shown.bars, shown.told, point);
    point(null);
  }
}

function point(index) {
  const { bars } = shown;
  const at = index ?? bars.label.length - 1;
  const parts = ["open", "high", "low", "close", "volume"].map((name) => `${name} ${bars.text[name][at] === null ? "·" : figure(bars.text[name][at])}`);
  if (bars.text.price_factor[at] !== "1") parts.push(`factor ${bars.text.price_factor[at]}`);
  $("#readout").textContent = `${bars.label[at]}   ${parts.join("   ")}`;
}

async function runQuery() {
  const query = $("#sql").elements.query.value;
  const answer = await ask("/api/v1/sql", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ query }),
  });
  show($("#sql-problem"), answer.ok ? "" : problemOf(answer));
  $("#rows").hidden = !answer.ok;
  $("#sql-told").textContent = "";
  if (!answer.ok) return;
  const { columns, metadata, row_count: count } = JSON.parse(answer.text);
  const cut = count > SHOWN_ROWS ? `, the first ${SHOWN_ROWS} shown` : "";
  const from = Object.keys(metadata.snapshots ?? {}).join(", ");
  $("#sql-told").textContent = `${figure(count)} rows${cut}${metadata.truncated ? ", cut off at the limit" : ""}${from ? ` · from ${from}` : ""} · ${Math.round(answer.elapsed)} ms`;
  $("#rows").replaceChildren(table(columns, Math.min(count, SHOWN_ROWS)));
}

function table(columns, count) {
  const names = Object.keys(columns);
  const isNumber = (value) => typeof value === "number" || (typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value));
  const kinds = names.map((name) => (columns[name].slice(0, count).some(isNumber) && columns[name].slice(0, count).every((value) => value === null || isNumber(value)) ? "number" : null));
  const head = make("tr", {}, ...names.map((name, place) => make("th", { class: kinds[place] }, name)));
  const body = make("tbody");
  for (let row = 0; row < count; row += 1) {
    body.append(make("tr", {}, ...names.map((name, place) => {
      const value = columns[name][row];
      return make("td", { class: kinds[place] }, value === null ? "·" : typeof value === "object" ? JSON.stringify(value) : String(value));
    })));
  }
  return make("table", {}, make("thead", {}, head), body);
}

async function lookAround() {
  const [health, openapi] = [await ask("/api/v1/health"), await ask("/api/v1/openapi.json")];
  if (health.ok) {
    const told = JSON.parse(health.text);
    const tables = told.tables ? `${Object.keys(told.tables).length} tables` : "";
    const holds = told.holds ? ` · ${told.holds.length || "no"} batch${told.holds.length === 1 ? "" : "es"} held` : "";
    $("#state").textContent = `market data, exact and explained${tables && ` · ${tables}`}${holds}`;
  }
  const paths = openapi.ok ? JSON.parse(openapi.text).paths : {};
  $("#sql-part").hidden = !paths["/api/v1/sql"];
  if (paths["/api/v1/sql"]) await nameInstruments();
}

async function nameInstruments() {
  const query = "SELECT DISTINCT symbol FROM reference.listings ORDER BY symbol LIMIT 500";
  const answer = await ask("/api/v1/sql", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ query }),
  });
  if (answer.ok) $("#symbols").replaceChildren(...JSON.parse(answer.text).columns.symbol.map((symbol) => make("option", { value: symbol })));
}

async function start() {
  await showBars();
  await lookAround();
}

$("#bars").addEventListener("submit", (event) => { event.preventDefault(); showBars(); });
$("#bars").addEventListener("change", showBars);
$("#sql").addEventListener("submit", (event) => { event.preventDefault(); runQuery(); });
$("#sql").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); runQuery(); }
});
for (const [name, query] of Object.entries(EXAMPLES)) {
  const button = make("button", { type: "button", class: "plain" }, name);
  button.addEventListener("click", () => { $("#sql").elements.query.value = query; runQuery(); });
  $("#examples").append(button);
}
addEventListener("resize", redraw);
wire(start);
start();
