// The tab Reconstruction: the picture redrawn from its labels, and from labels that are repainted.

import { button, choice, make, rgb, slider, swatch } from "./html.js";
import { colours, heat } from "./maps.js";
import { Painting } from "./painting.js";
import { channel, pixels, post, session } from "./session.js";
import { Split } from "./split.js";
import { Stage } from "./stage.js";
import { Part } from "./tab.js";

class Reconstruction extends Part {
  view = "drawing";
  painting = new Painting();

  build() {
    const { classes } = this.about;
    this.map = new Stage({ label: "The label map; paint on it with the pointer, or with Enter at the cursor",
      layers: ["image", "colours"], describe: (x, y) => this.describe(x, y) });
    this.split = new Split({ label: "The input on the left, the drawing on the right", left: "Input", right: "Redrawn from the labels" });
    this.note = make("p", { className: "rs-note", role: "status", id: "redrawn" });
    this.scale = make("div", { className: "rs-scale", hidden: true }, "alike",
      make("span", { style: `background:linear-gradient(to right, ${this.about.scale.map((c) => `rgb(${c})`)})` }),
      "96 of 255 grey levels apart, or more");
    const tools = [["brush", "Brush"], ["fill", "Fill"]];
    const brush = choice("Tool", tools, "brush", (tool) => { this.painting.tool = tool; });
    const size = slider("Size", { min: 1, max: 40, value: this.painting.radius, say: (v) => `${v} px`,
      change: (value) => { this.painting.radius = value; } });
    this.undo = button("Undo", () => { this.painting.undo(); this.edited(); });
    this.reset = button("As predicted", () => { this.painting.reset(); this.edited(); });
    this.undo.disabled = this.reset.disabled = true;
    const views = [["drawing", "Before and after"], ["difference", "Where they disagree"]];
    this.append(make("div", { className: "rs-halves" },
      make("section", {}, make("h2", {}, "What it sees: paint here"), this.map.element,
        make("div", { className: "rs-controls" }, brush, size, this.undo, this.reset), this.palette(classes)),
      make("section", {}, make("h2", {}, "What it thinks the world looks like"), this.split.element, this.scale,
        make("div", { className: "rs-controls" }, choice("Show", views, this.view, (view) => { this.view = view; this.paint(); })),
        this.note)));
    this.brush();
  }

  palette(classes) {
    this.swatches = classes.map((name, id) => make("button", { type: "button", className: "rs-paint", "aria-pressed": "false",
      style: `--rs-paint:${rgb(this.about.palette[id])}`, onclick: () => this.pick(id) }, swatch(this.about.palette[id]), name));
    this.pick(0);
    return make("div", { className: "rs-palette", role: "group", "aria-label": "Class to paint with" }, ...this.swatches);
  }

  pick(id) {
    this.painting.id = id;
    this.swatches.forEach((one, i) => one.setAttribute("aria-pressed", i === id));
  }

  brush() {
    const { box } = this.map;
    let last = null;
    box.style.touchAction = "none";
    box.addEventListener("pointerdown", (event) => {
      if (!this.picture || event.button) return;
      box.setPointerCapture(event.pointerId);
      this.painting.begin();
      this.painting.apply(last = this.map.pixel(event));
      this.paint();
    });
    box.addEventListener("pointermove", (event) => {
      if (!last || this.painting.tool === "fill") return;
      const next = this.map.pixel(event);
      this.painting.line(last, next);
      last = next;
      this.paint();
    });
    const end = () => { if (last) this.edited(); last = null; };
    box.addEventListener("pointerup", end);
    box.addEventListener("pointercancel", end);
    box.addEventListener("keydown", (event) => {
      if (!["Enter", " "].includes(event.key) || !this.picture || !this.map.at) return;
      event.preventDefault();
      this.painting.begin();
      this.painting.apply(this.map.at);
      this.edited();
    });
  }

  async show(picture) {
    this.picture = picture;
    this.painting.open(picture.labels, picture.width);
    for (const stage of [this.map, this.split.stage]) {
      stage.resize(picture.width, picture.height);
      stage.draw("image", picture.canvas);
    }
    this.drawing = this.difference = null;
    await this.edited();
  }

  // Redraws from the labels as they now are; while one drawing is made, only the newest wish waits.
  async edited() {
    this.paint();
    if (this.drawn) return void (this.again = true);
    this.drawn = true;
    const picture = this.picture;
    this.note.textContent = "Redrawing …";
    try {
      const { drawing, difference } = await post("roadshift/redraw", JSON.stringify({
        image: picture.image, labels: await this.file() }));
      const drawn = await Promise.all([pixels(drawing), pixels(difference)]);
      if (picture === this.picture) {
        [this.drawing, this.difference] = drawn;
        this.note.textContent = this.painting.changed ? "Redrawn from your labels." : "Redrawn from the predicted labels alone.";
        this.paint();
      }
    } catch (error) {
      this.note.textContent = error.message;
    } finally {
      this.drawn = false;
    }
    if (this.again) { this.again = false; await this.edited(); }
  }

  // The labels as a PNG, grey by class id.
  file() {
    const { width, height } = this.picture;
    const canvas = make("canvas", { width, height });
    const grey = Array.from({ length: 256 }, (_, id) => [id, id, id]);
    const words = heat(this.painting.labels, grey);
    canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(words.buffer), width, height), 0, 0);
    return canvas.toDataURL("image/png");
  }

  paint() {
    if (!this.picture) return;
    this.map.draw("colours", colours(this.painting.labels, this.about.palette));
    const apart = this.view === "difference";
    this.split.whole(apart);
    this.scale.hidden = !apart;
    this.split.stage.draw("right", this.drawing);
    this.split.stage.draw("over", apart && this.difference ? this.heated() : null);
    this.undo.disabled = !this.painting.past.length;
    this.reset.disabled = !this.painting.changed;
  }

  // The disagreement in the colours of the scale.
  heated() {
    const { width, height } = this.difference;
    const context = this.difference.getContext("2d");
    const { data } = context.getImageData(0, 0, width, height);
    const words = heat(Uint8Array.from({ length: width * height }, (_, i) => data[4 * i]), this.about.scale);
    const canvas = make("canvas", { width, height });
    canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(words.buffer), width, height), 0, 0);
    return canvas;
  }

  describe(x, y) {
    if (!this.picture) return [];
    const id = this.painting.labels[y * this.picture.width + x];
    return [swatch(this.about.palette[id]), make("b", {}, this.about.classes[id])];
  }
}

customElements.define("rs-reconstruction", Reconstruction);
