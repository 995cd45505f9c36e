// The tab Picture: the classes over the picture, how sure they are, what is at a pixel, downloads.

import { bringIntoView, button, choice, make, percent, png, save, slider, swatch, tick } from "./html.js";
import { Legend } from "./legend.js";
import { colours, contours, heat, shares } from "./maps.js";
import { session } from "./session.js";
import { Stage } from "./stage.js";
import { Part } from "./tab.js";
import { zip } from "./zip.js";

class Picture extends Part {
  view = "classes";
  opacity = 60;
  least = 0;
  outlined = false;

  build() {
    this.stage = new Stage({ label: "The picture under its class colours", layers: ["image", "colours", "lines"],
      describe: (x, y) => this.describe(x, y) });
    this.legend = new Legend(this.about, () => this.paint());
    const views = [["classes", "Classes"], ["confidence", "Confidence"]];
    this.scale = make("div", { className: "rs-scale", hidden: true }, "0 % (a guess)",
      make("span", { style: `background:linear-gradient(to right, ${this.about.scale.map((c) => `rgb(${c})`)})` }), "100 % (sure)");
    const controls = make("div", { className: "rs-controls" },
      choice("Show", views, this.view, (view) => { this.view = view; this.paint(); }),
      slider("Opacity", { value: this.opacity, change: (value) => { this.opacity = value; this.blend(); } }),
      slider("Hide what is less sure than", { value: 0, change: (value) => { this.least = value; this.paint(); } }),
      tick("Contours", false, (on) => { this.outlined = on; this.paint(); }));
    this.append(make("div", { className: "rs-columns" },
      make("div", { className: "rs-main" }, this.stage.element, this.scale, controls, this.hidden(), this.downloads(), this.curl()),
      make("div", { className: "rs-side" }, this.legend.element)));
  }

  hidden() {
    this.below = make("p", { className: "rs-note", id: "below" });
    return this.below;
  }

  downloads() {
    const download = (text, suffix, file) => button(text, async () => {
      const name = session.source.name.replace(/\.\w+$/, "") + suffix;
      save(await file(), name);
    }, { disabled: true });
    this.files = [download("Labels (PNG)", ".labels.png", () => stored(this.picture.labelsFile)),
      download("Overlay (PNG)", ".overlay.png", () => this.overlay()),
      download("Everything (ZIP)", ".zip", () => this.everything())];
    return make("div", { className: "rs-buttons", role: "group", "aria-label": "Downloads" }, ...this.files);
  }

  curl() {
    const { name, address } = this.about;
    const line = `curl --data-binary @street.jpg -H 'Content-Type: image/jpeg' \\\n  '${address}/segment?as=labels' -o street.labels.png`;
    return make("details", { className: "rs-curl" }, make("summary", {}, "The same call with curl"),
      make("p", {}, `After  roadshift serve ${name}  on the machine that has the bundle:`),
      make("pre", { tabIndex: 0 }, line), button("Copy", () => navigator.clipboard?.writeText(line)));
  }

  show(picture) {
    this.picture = picture;
    for (const file of this.files) file.disabled = false;
    this.legend.clear();
    this.legend.show(shares(picture.labels, this.about.classes.length));
    this.stage.resize(picture.width, picture.height);
    this.stage.draw("image", picture.canvas);
    this.paint();
    bringIntoView(this.stage.element);
  }

  paint() {
    if (!this.picture) return;
    const { labels, confidence, width } = this.picture;
    const least = (255 * this.least) / 100;
    const sure = { only: this.legend.only, confidence, least };
    this.stage.draw("colours", this.view === "classes" ? colours(labels, this.about.palette, sure) : heat(confidence, this.about.scale));
    this.stage.draw("lines", this.outlined ? contours(labels, width) : null);
    this.scale.hidden = this.view === "classes";
    const hidden = confidence.reduce((sum, value) => sum + (value < least), 0) / confidence.length;
    this.below.textContent = this.least ? `${percent(hidden)} of the pixels are less sure than ${this.least} %.` : "";
    this.blend();
  }

  blend() {
    this.stage.style("colours", "opacity", this.view === "classes" ? this.opacity / 100 : 1);
  }

  describe(x, y) {
    if (!this.picture) return [];
    const at = y * this.picture.width + x;
    const id = this.picture.labels[at];
    return [swatch(this.about.palette[id]), make("b", {}, this.about.classes[id]),
      ` ${Math.round((100 * this.picture.confidence[at]) / 255)} % sure, at column ${x}, row ${y}`];
  }

  overlay() {
    const { width, height } = this.picture;
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d");
    context.drawImage(this.stage.canvases.image, 0, 0);
    context.globalAlpha = this.view === "classes" ? this.opacity / 100 : 1;
    context.drawImage(this.stage.canvases.colours, 0, 0);
    context.globalAlpha = 1;
    context.drawImage(this.stage.canvases.lines, 0, 0);
    return png(canvas);
  }

  async everything() {
    const { classes, palette, name } = this.about;
    const { canvas, labelsFile, confidenceFile } = this.picture;
    const overlay = this.overlay(); // before anything is waited for: all files are of one picture
    const list = { model: name, classes: classes.map((title, id) => ({ id, name: title, color: palette[id] })) };
    return zip({ "picture.png": await png(canvas), "labels.png": await stored(labelsFile),
      "confidence.png": await stored(confidenceFile), "overlay.png": await overlay, "classes.json": new Blob([JSON.stringify(list, null, 1)]) });
  }
}

// The file behind a data address.
function stored(address) {
  return fetch(address).then((file) => file.blob());
}

customElements.define("rs-picture", Picture);
