// What both pages share: asking the API with the key a person typed, making elements, the theme.

const KEY = "tickhouse.key";
const THEME = "tickhouse.theme";

/** Make an element. Text is always set as text, never as markup. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

/** Ask the API. Returns {ok, status, headers, text, elapsed}; a server that does not answer is status 0. */
export async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { Accept: "application/json", ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  const started = performance.now();
  try {
    const response = await fetch(path, { ...options, headers });
    const text = await response.text();
    if (response.status === 401) askForKey();
    return { ok: response.ok, status: response.status, headers: response.headers, text, elapsed: performance.now() - started };
  } catch (error) {
    const detail = `The server does not answer: ${error.message}`;
    return { ok: false, status: 0, headers: new Headers(), text: JSON.stringify({ detail }), elapsed: 0 };
  }
}

/** What a refused answer says: the detail of its problem document, else its text. */
export function problemOf(answer) {
  try {
    const body = JSON.parse(answer.text);
    return [body.title, body.detail].filter(Boolean).join(": ") || `HTTP ${answer.status}`;
  } catch {
    return answer.text.slice(0, 500) || `HTTP ${answer.status}`;
  }
}

/** Show the key's field of the page; a key is kept for this tab only. */
export function askForKey() {
  const form = document.querySelector("#key");
  if (form) form.hidden = false;
}

/** Wire the key's field and the theme's button of a page; `again` is called when there is a new key. */
export function wire(again) {
  const form = document.querySelector("#key");
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, form.elements.key.value.trim());
    form.hidden = true;
    again();
  });
  const kept = localStorage.getItem(THEME);
  if (kept) document.documentElement.dataset.theme = kept;
  document.querySelector("#theme")?.addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
    const next = now === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem(THEME, next);
  });
}
