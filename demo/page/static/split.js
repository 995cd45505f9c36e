// Two pictures in one frame and a slider between them.

import { make } from "./html.js";
import { Stage } from "./stage.js";

export class Split {
  // Layers: "image" below all, "left" and "right" on their side of the line, "over" above both.
  constructor({ label, left, right, describe = null }) {
    this.stage = new Stage({ label, layers: ["image", "left", "right", "over"], describe });
    this.line = make("span", { className: "rs-line" });
    this.names = make("div", { className: "rs-sides" }, make("span", {}, left), make("span", {}, right));
    this.range = make("input", { type: "range", min: 0, max: 100, value: 50, className: "rs-divider",
      "aria-label": `How much is ${left} (left) and how much ${right} (right)`,
      oninput: () => this.move(Number(this.range.value)) });
    this.stage.box.append(this.line);
    this.stage.box.addEventListener("pointermove", (event) => { if (event.buttons) this.drag(event); });
    this.stage.box.addEventListener("pointerdown", (event) => this.drag(event));
    this.element = make("div", { className: "rs-split" }, this.names, this.stage.element);
    this.stage.box.after(this.range);
    this.move(50);
  }

  drag(event) {
    const box = this.stage.box.getBoundingClientRect();
    this.move(Math.round(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width))));
  }

  move(percent) {
    this.range.value = percent;
    this.range.setAttribute("aria-valuetext", `${percent} % left`);
    this.line.style.left = `${percent}%`;
    this.stage.style("left", "clipPath", `inset(0 ${100 - percent}% 0 0)`);
    this.stage.style("right", "clipPath", `inset(0 0 0 ${percent}%)`);
  }

  // Without two sides there is nothing to slide between.
  whole(on) {
    for (const part of [this.line, this.range, this.names]) part.hidden = on;
  }
}
