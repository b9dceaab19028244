// Making elements. Text is set as text and attributes as attributes, never as markup.

/**
 * @param {string} tag @param {Record<string, unknown>} given attributes; `text` is the content, `on` holds listeners
 * @param {(Node | null | undefined)[]} children
 */
export function element(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "text") made.textContent = String(value);
    else if (name === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children.filter(Boolean));
  return made;
}

const ICONS = {
  select: "M3 2l9 5-4 1.2L6.5 13z",
  points: "M3 12L8 3l5 9zM2 11h2v2H2zM7 2h2v2H7zM12 11h2v2h-2z",
  box: "M2.5 4h11v8h-11z",
  ellipse: "M8 3.5c3.3 0 6 2 6 4.5s-2.7 4.5-6 4.5-6-2-6-4.5 2.7-4.5 6-4.5z",
  polygon: "M8 2l6 4.6L11.7 13H4.3L2 6.6z",
  lasso: "M13.5 6c0 2.2-2.5 3.6-5.5 3.6S2.5 8.4 2.5 6.2 5 2.5 8 2.5s5.5 1.3 5.5 3.500zM5 9.400c-1.2.8-1 2.2.2 2.3 1.3.1 1.3 2-.2 2.3",
  brush: "M13.5 2.500L7 9M7 9c-1.5-.6-3 .3-3.2 2C3.6 12.5 2.5 13 2.5 13c2.5 1 5.5.3 5.7-2 .1-.9-.4-1.7-1.2-2z",
  eraser: "M6 13l-3.5-3.5 6-6.500L13 7.5 8 13zM4.7 7.200l4.5 4.300M6 13h7",
  undo: "M6 3L2.5 6.5 6 10M3 6.500h6.500a3.5 3.5 0 0 1 0 7H7",
  redo: "M10 3l3.5 3.500L10 10M13 6.500H6.500a3.5 3.5 0 0 0 0 7H9",
  snap: "M4 2.500v5a4 4 0 0 0 8 0v-5H9.500v5a1.5 1.5 0 0 1-3 0v-5zM4 5h2.500M9.5 5H12",
  fit: "M2.5 6V2.500H6M10 2.500h3.500V6M13.5 10v3.500H10M6 13.500H2.500V10",
  large: "M9.5 2.500h4v4M13.5 2.500L9 7M6.5 13.500h-4v-4M2.5 13.500L7 9",
  copy: "M5.5 5.500h8v8h-8zM3 10.500h-.5v-8h8V3",
  trash: "M3 4.500h10M6 4.500v-2h4v2M4.5 4.500l.5 9h6l.5-9M6.8 7v4M9.2 7v4",
  grip: "M6 4h.01M10 4h.01M6 8h.01M10 8h.01M6 12h.01M10 12h.01",
  seen: "M1.5 8S4 3.8 8 3.8 14.5 8 14.5 8 12 12.2 8 12.2 1.5 8 1.5 8zM8 6.200a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.600z",
  muted: "M2 2l12 12M4 5C2.4 6.3 1.5 8 1.5 8S4 12.2 8 12.200c1 0 1.9-.3 2.7-.6M6.5 4c.5-.1 1-.2 1.5-.2 4 0 6.5 4.2 6.5 4.200s-.6 1-1.7 2.1",
  solo: "M8 2l1.8 3.9 4.2.5-3.1 2.9.8 4.200L8 11.400l-3.7 2.1.8-4.200L2 6.400l4.2-.5z",
  locked: "M4 7.500h8v6H4zM5.5 7.500v-2a2.5 2.5 0 0 1 5 0v2",
  free: "M4 7.500h8v6H4zM5.5 7.500v-2a2.5 2.5 0 0 1 4.8-1",
  add: "M8 3v10M3 8h10",
  steps: "M8 4v4l2.500 2M3 8a5 5 0 1 1 1.500 3.600M3 12.500V9.500h3",
};

const SVG = "http://www.w3.org/2000/svg";

/** @param {keyof typeof ICONS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows an icon and says what it does. */
export function iconButton(name, label, onClick, given = {}) {
  const attributes = { type: "button", class: "pakati-icon", "aria-label": label, title: label, ...given };
  return element("button", { ...attributes, on: { click: onClick } }, icon(name));
}

/** Put another icon and label on such a button, when they changed. */
export function relabel(button, name, label, isPressed) {
  if (button.dataset.icon !== name) {
    button.replaceChildren(icon(name));
    button.dataset.icon = name;
  }
  if (button.title !== label) {
    button.title = label;
    button.setAttribute("aria-label", label);
  }
  button.setAttribute("aria-pressed", String(isPressed));
}

/** A button that says what it does. */
export function textButton(text, onClick, given = {}) {
  return element("button", { type: "button", class: "pakati-button", text, ...given, on: { click: onClick } });
}

export const heading = (text) => element("h3", { text });

let number = 0;
/** An id that no other element of the page has. */
export const freshId = (name) => `pakati-${name}-${++number}`;

/** Add the pack's style sheet to the page, once. */
export function addStyle() {
  if (document.getElementById("pakati-style")) return;
  const href = new URL("../css/pakati.css", import.meta.url).href;
  document.head.append(element("link", { id: "pakati-style", rel: "stylesheet", href }));
}

/** Let the user choose a file. @returns {Promise<File | null>} */
export function chooseFile(accept) {
  return new Promise((resolve) => {
    const input = element("input", { type: "file", accept });
    input.addEventListener("change", () => resolve(input.files?.[0] ?? null));
    input.addEventListener("cancel", () => resolve(null));
    input.click();
  });
}
