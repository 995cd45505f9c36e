// The classes with their colours and shares; a click on one brings it out.

import { make, percent, swatch, rgb } from "./html.js";

export class Legend {
  only = new Set();

  constructor({ classes, palette }, change) {
    this.rows = classes.map((name, id) => {
      const bar = make("span", { className: "rs-bar", style: `background:${rgb(palette[id])}` });
      const share = make("span", { className: "rs-number" });
      const row = make("button", {
        type: "button", className: "rs-class", "aria-pressed": "false",
        onclick: () => {
          if (!this.only.delete(id)) this.only.add(id);
          row.setAttribute("aria-pressed", this.only.has(id));
          this.all.hidden = !this.only.size;
          change(this.only);
        },
      }, swatch(palette[id]), make("span", { className: "rs-name" }, name),
        make("span", { className: "rs-track" }, bar), share);
      return { row, bar, share, item: make("li", {}, row) };
    });
    this.all = make("button", { type: "button", className: "rs-button", hidden: true,
      onclick: () => { this.clear(); change(this.only); } }, "Show all classes");
    this.list = make("ul", { className: "rs-legend" }, ...this.rows.map(({ item }) => item));
    this.element = make("section", {}, make("h2", {}, "Classes and their shares"), this.list, this.all);
  }

  clear() {
    this.only.clear();
    this.all.hidden = true;
    for (const { row } of this.rows) row.setAttribute("aria-pressed", "false");
  }

  // Sorted by share, the largest first; the largest fills its bar.
  show(shares) {
    const largest = Math.max(...shares) || 1;
    const order = shares.map((_, id) => id).sort((a, b) => shares[b] - shares[a]);
    this.list.replaceChildren(...order.map((id) => this.rows[id].item));
    this.rows.forEach(({ row, bar, share }, id) => {
      bar.style.width = `${(100 * shares[id]) / largest}%`;
      share.textContent = percent(shares[id]);
      row.classList.toggle("rs-absent", !shares[id]);
    });
  }
}
