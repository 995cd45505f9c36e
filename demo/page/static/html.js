// Small pieces of page. Everything from outside goes in as text, never as HTML.

// An element: make("button", {type: "button", onclick: f}, "text", otherElement, …).
export function make(tag, values = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(values)) {
    if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

let count = 0;

// A labelled range; `change(value)` is called while it moves. `say(value)` is what stands beside it.
export function slider(label, { min = 0, max = 100, value, step = 1, say = (v) => `${v} %`, change }) {
  const id = `rs-range-${count++}`;
  const shown = make("output", { htmlFor: id }, say(value));
  const input = make("input", {
    id, type: "range", min, max, step, value,
    oninput: () => {
      shown.textContent = say(Number(input.value));
      input.setAttribute("aria-valuetext", shown.textContent);
      change(Number(input.value));
    },
  });
  input.setAttribute("aria-valuetext", say(value));
  return make("div", { className: "rs-slider" }, make("label", { htmlFor: id }, label), input, shown);
}

// One of several: radios that look like a row of buttons. `options` is [[value, text], …].
export function choice(legend, options, chosen, change) {
  const name = `rs-choice-${count++}`;
  const radios = options.map(([value, text]) => make("label", {},
    make("input", { type: "radio", name, value, checked: value === chosen,
                    onchange: () => change(value) }), make("span", {}, text)));
  return make("fieldset", { className: "rs-choice" },
    make("legend", { className: "rs-hidden" }, legend), ...radios);
}

export function tick(label, checked, change) {
  const box = make("input", { type: "checkbox", checked, onchange: () => change(box.checked) });
  return make("label", { className: "rs-tick" }, box, label);
}

export function button(text, onclick, values = {}) {
  return make("button", { type: "button", className: "rs-button", onclick, ...values }, text);
}

export function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return `${(100 * share).toFixed(1)} %`;
}

export const rgb = (colour) => `rgb(${colour.join(" ")})`;

export function swatch(colour) {
  return make("span", { className: "rs-swatch", style: `background:${rgb(colour)}` });
}

// A table that scrolls by itself where it is too wide; cells are texts or elements.
export function table(caption, head, rows) {
  const cells = (tag, row) => make("tr", {}, ...row.map((cell, i) => {
    const name = i === 0 && tag === "td" ? "th" : tag;
    return make(name, { className: i ? "rs-number" : "", ...(name === "th" && { scope: tag === "th" ? "col" : "row" }) }, cell);
  }));
  return make("div", { className: "rs-wide", tabIndex: 0, role: "region", "aria-label": caption },
    make("table", { className: "rs-table" }, make("caption", { className: "rs-hidden" }, caption),
      make("thead", {}, cells("th", head)), make("tbody", {}, ...rows.map((row) => cells("td", row)))));
}

// Lets the visitor keep a file.
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// On a small screen the answer may lie below what is seen.
export function bringIntoView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) element.scrollIntoView({ block: "nearest" });
}

export const png = (canvas) => new Promise((done) => canvas.toBlob(done, "image/png"));
