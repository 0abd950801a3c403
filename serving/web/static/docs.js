// The API's pages, drawn from its OpenAPI document: every call with its parameters, and a button that makes it.

import { ask, make, problemOf, wire } from "/static/ask.js";

const MOST = 20_000;
const $ = (selector) => document.querySelector(selector);

/** Draw the little Markdown that descriptions use: `code`, **strong**, lists by `*`. */
function prose(text) {
  const blocks = make("div");
  let list = null;
  for (const line of (text ?? "").split("\n")) {
    const item = line.match(/^\s*\*\s+(.*)/);
    if (!line.trim()) { list = null; continue; }
    const target = item ? make("li") : make("p");
    for (const part of (item ? item[1] : line).split(/(`[^`]+`|\*\*[^*]+\*\*)/)) {
      if (part.startsWith("`")) target.append(make("code", {}, part.slice(1, -1)));
      else if (part.startsWith("**")) target.append(make("strong", {}, part.slice(2, -2)));
      else target.append(part);
    }
    if (item) {
      if (!list) blocks.append(list = make("ul"));
      list.append(target);
    } else { list = null; blocks.append(target); }
  }
  return blocks;
}

function resolved(schema, all) {
  if (!schema) return {};
  if (schema.$ref) return resolved(schema.$ref.split("/").slice(1).reduce((at, name) => at?.[name], all), all);
  const options = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (!options) return schema;
  const chosen = options.map((each) => resolved(each, all)).find((each) => each.type !== "null") ?? {};
  return { ...chosen, default: schema.default ?? chosen.default };
}

function exampleOf(parameter, schema) {
  if (parameter.example !== undefined) return parameter.example;
  const named = Object.values(parameter.examples ?? {});
  return named[0]?.value ?? parameter.schema?.examples?.[0] ?? schema.examples?.[0] ?? "";
}

function field(parameter, all) {
  const schema = resolved(parameter.schema, all);
  const example = exampleOf(parameter, schema);
  const name = `${parameter.in}:${parameter.name}`;
  const what = `${parameter.name}${parameter.required ? " *" : ""}`;
  const input = schema.enum
    ? make("select", { name }, ...(parameter.required ? [] : [make("option", { value: "" }, "")]), ...schema.enum.map((value) => make("option", {}, String(value))))
    : make("input", { name, value: parameter.required ? example : null, placeholder: String(example), autocomplete: "off", spellcheck: "false" });
  input.setAttribute("aria-label", parameter.name);
  const about = [parameter.description ?? schema.description, schema.default !== undefined && schema.default !== null ? `Default: ${schema.default}.` : ""];
  return [make("code", {}, what), input, make("span", { class: "soft" }, prose(about.filter(Boolean).join(" ")))];
}

function bodyOf(operation, all) {
  const content = operation.requestBody?.content;
  if (!content) return null;
  const [type, media] = Object.entries(content)[0];
  const schema = resolved(media.schema, all);
  let example = media.example ?? Object.values(media.examples ?? {})[0]?.value ?? schema.examples?.[0];
  if (example === undefined && schema.properties) {
    example = Object.fromEntries((schema.required ?? []).map((name) => [name, resolved(schema.properties[name], all).examples?.[0] ?? ""]));
  }
  return { type, text: typeof example === "string" ? example : JSON.stringify(example ?? {}, null, 2) };
}

function operationOf(path, method, operation, all) {
  const parameters = operation.parameters ?? [];
  const body = bodyOf(operation, all);
  const fields = make("div", { class: "fields" }, ...parameters.flatMap((each) => field(each, all)));
  if (body) fields.append(make("code", {}, "body *"), make("textarea", { name: "body", rows: 5, spellcheck: "false", "aria-label": "body" }, body.text));
  const told = make("p", { class: "soft" });
  const result = make("pre", { class: "result", hidden: true });
  const form = make("form", {}, fields, make("button", { class: "main" }, "Send"), told, result);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let url = path;
    const query = new URLSearchParams();
    for (const each of parameters) {
      const value = form.elements[`${each.in}:${each.name}`].value;
      if (each.in === "path") url = url.replace(`{${each.name}}`, encodeURIComponent(value));
      else if (each.in === "query" && value !== "") query.set(each.name, value);
    }
    if ([...query].length) url += `?${query}`;
    const headers = body ? { "Content-Type": body.type } : {};
    const answer = await ask(url, { method: method.toUpperCase(), headers, body: body ? form.elements.body.value : undefined });
    told.textContent = `${method.toUpperCase()} ${url} → ${answer.status}, ${answer.text.length.toLocaleString("en-US")} characters, ${Math.round(answer.elapsed)} ms`;
    result.hidden = false;
    result.textContent = pretty(answer.text);
  });
  const summary = make("summary", {}, make("span", { class: "method" }, method), make("span", { class: "path" }, path), make("span", { class: "soft" }, operation.summary ?? ""));
  return make("details", { class: "operation", id: operation.operationId }, summary, prose(operation.description), form);
}

function pretty(text) {
  let whole = text;
  try { whole = JSON.stringify(JSON.parse(text), null, 1); } catch { /* not JSON: shown as it is */ }
  return whole.length > MOST ? `${whole.slice(0, MOST)}\n… ${(whole.length - MOST).toLocaleString("en-US")} more characters` : whole;
}

async function draw() {
  const answer = await ask("/api/v1/openapi.json");
  $("#problem").hidden = answer.ok;
  if (!answer.ok) { $("#problem").textContent = problemOf(answer); return; }
  const all = JSON.parse(answer.text);
  $("#title").textContent = `${all.info.title} ${all.info.version}`;
  $("#about").replaceChildren(prose(all.info.description));
  const methods = ["get", "post", "put", "patch", "delete"];
  const found = Object.entries(all.paths).flatMap(([path, item]) => methods.filter((method) => item[method]).map((method) => operationOf(path, method, item[method], all)));
  $("#operations").replaceChildren(...found);
  found[0]?.setAttribute("open", "");
}

wire(draw);
draw();
