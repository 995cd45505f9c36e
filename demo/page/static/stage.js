// A picture with layers of the same size over it, and a cursor that says what is at a pixel.

import { make } from "./html.js";

export class Stage {
  // `layers` are names, the lowest first; `describe(x, y)` is the text for a pixel.
  constructor({ label, layers, describe = null }) {
    this.describe = describe;
    this.canvases = Object.fromEntries(layers.map((name) => [name, make("canvas", { className: `rs-layer rs-${name}` })]));
    this.cross = make("span", { className: "rs-cross", hidden: true });
    this.box = make("div", { className: "rs-stage" }, ...Object.values(this.canvases), this.cross);
    this.readout = make("p", { className: "rs-readout", role: "status" });
    this.element = make("div", { className: "rs-figure" }, this.box, describe ? this.readout : null);
    this.box.setAttribute("role", "img");
    this.box.setAttribute("aria-label", label);
    if (describe) this.listen(label);
  }

  get size() {
    const [first] = Object.values(this.canvases);
    return [first.width, first.height];
  }

  resize(width, height) {
    for (const canvas of Object.values(this.canvases)) [canvas.width, canvas.height] = [width, height];
    this.box.style.setProperty("--rs-ratio", `${width} / ${height}`);
    this.box.style.setProperty("--rs-aspect", width / height);
    this.point(null);
  }

  // Puts a canvas, or pixels as 32-bit words, on a layer.
  draw(name, what) {
    const context = this.canvases[name].getContext("2d");
    const [width, height] = this.size;
    if (what instanceof Uint32Array) {
      context.putImageData(new ImageData(new Uint8ClampedArray(what.buffer), width, height), 0, 0);
    } else {
      context.clearRect(0, 0, width, height);
      if (what) context.drawImage(what, 0, 0, width, height);
    }
  }

  style(name, property, value) {
    this.canvases[name].style[property] = value;
  }

  listen(label) {
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "application");
    this.box.setAttribute("aria-roledescription", "picture with a cursor");
    this.box.setAttribute("aria-label", `${label}. Arrow keys move the cursor, with Shift by more.`);
    this.box.addEventListener("pointermove", (event) => this.point(this.pixel(event)));
    this.box.addEventListener("pointerdown", (event) => this.point(this.pixel(event)));
    this.box.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") this.point(null); });
    this.box.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    const [width, height] = this.size;
    const [x, y] = this.at ?? [width >> 1, height >> 1];
    const step = Math.max(1, Math.round(width / (event.shiftKey ? 16 : 128)));
    this.point([clamp(x + dx * step, width), clamp(y + dy * step, height)]);
  }

  // The pixel under the pointer.
  pixel(event) {
    const [width, height] = this.size;
    const box = this.box.getBoundingClientRect();
    return [clamp(Math.floor(((event.clientX - box.left) / box.width) * width), width),
            clamp(Math.floor(((event.clientY - box.top) / box.height) * height), height)];
  }

  point(at) {
    this.at = at;
    this.cross.hidden = !at;
    this.readout.replaceChildren(...(at && this.describe ? this.describe(...at) : [" "]));
    if (!at) return;
    const [width, height] = this.size;
    this.cross.style.left = `${(100 * (at[0] + 0.5)) / width}%`;
    this.cross.style.top = `${(100 * (at[1] + 0.5)) / height}%`;
  }
}

const clamp = (value, size) => Math.min(size - 1, Math.max(0, value));
