// The tab Adaptation: two bundles on the same picture, what differs, and who is right.

import { choice, make, percent, slider, swatch, table } from "./html.js";
import { colours, iou, marked, NOTHING, shares } from "./maps.js";
import { channel, post, session } from "./session.js";
import { Split } from "./split.js";
import { Part } from "./tab.js";

const CHANGED = [255, 196, 0], WRONG = [214, 40, 40], RIGHT = [38, 140, 80];

class Adaptation extends Part {
  view = "classes";
  truth = null;

  build() {
    [this.after, this.before] = this.about.models;
    this.split = new Split({ label: `${this.before} on the left, ${this.after} on the right`, left: this.before,
      right: this.after, describe: (x, y) => this.describe(x, y) });
    this.views = make("div", {});
    this.note = make("p", { className: "rs-note", role: "status", id: "changed" });
    this.rows = make("div", { id: "compared" });
    const file = make("input", { type: "file", accept: "image/png", id: "truth", "aria-describedby": "truth-help",
      onchange: () => { if (file.files[0]) this.compare(file.files[0]); file.value = ""; } });
    this.append(make("div", { className: "rs-columns rs-even" },
      make("div", { className: "rs-main" }, this.split.element,
        make("div", { className: "rs-controls" }, this.views,
          slider("Opacity", { value: 70, change: (value) => this.blend(value) })), this.note),
      make("div", { className: "rs-side" }, make("h2", {}, "Class by class"), this.rows,
        make("label", { className: "rs-button rs-file" }, file, "Compare with labels"),
        make("p", { className: "rs-note", id: "truth-help" },
          "A PNG of the same picture with a class id or a class colour at every pixel; 255 or black is not counted."))));
    this.blend(70);
  }

  async show(picture) {
    this.note.textContent = `Asking ${this.before} …`;
    let other;
    try {
      other = await session.answer(1);
    } finally {
      if (picture === session.picture) this.note.textContent = "";
    }
    if (picture !== session.picture) return;
    [this.picture, this.other] = [picture, other];
    [this.truth, this.view] = [null, "classes"];
    this.split.stage.resize(picture.width, picture.height);
    this.split.stage.draw("image", picture.canvas);
    this.choices();
    this.paint();
    this.tabulate();
  }

  async compare(file) {
    const { picture } = this;
    if (!picture) return session.say("There is no picture on show yet to compare them with.", "error");
    let truth;
    try {
      const answer = await post(`roadshift/labels?width=${picture.width}&height=${picture.height}`, file);
      truth = await channel(answer.labels);
    } catch (error) {
      return session.say(error.message, "error");
    }
    if (picture !== this.picture) return; // they are of a picture that has gone
    this.truth = truth;
    this.view = "errors";
    this.choices();
    this.paint();
    this.tabulate();
  }

  choices() {
    const views = [["classes", "Classes"], ["changed", "What changed"]];
    if (this.truth) views.push(["errors", "Errors"]);
    this.views.replaceChildren(choice("Show", views, this.view, (view) => { this.view = view; this.paint(); }));
  }

  paint() {
    const { stage } = this.split;
    const [before, after] = [this.other.labels, this.picture.labels];
    const changed = (i) => before[i] !== after[i];
    this.split.whole(this.view === "changed");
    stage.draw("over", this.view === "changed" ? marked(after.length, changed, CHANGED) : null);
    for (const [side, labels] of [["left", before], ["right", after]]) {
      stage.draw(side, this.view === "classes" ? colours(labels, this.about.palette) : this.view === "errors" ? this.errors(labels) : null);
    }
    this.tell(before, after, changed);
  }

  // Red where the labels are wrong, green where they are right, nothing where the truth is no class.
  errors(labels) {
    const classed = (i) => this.truth[i] !== NOTHING;
    const out = marked(labels.length, (i) => classed(i) && labels[i] === this.truth[i], RIGHT);
    marked(labels.length, (i) => classed(i) && labels[i] !== this.truth[i], WRONG).forEach((mark, i) => { if (mark) out[i] = mark; });
    return out;
  }

  tell(before, after, changed) {
    const share = after.reduce((sum, _, i) => sum + changed(i), 0) / after.length;
    const texts = { classes: () => `The two differ on ${percent(share)} of the pixels.`,
      changed: () => `Yellow: the ${percent(share)} of the pixels to which the two give different classes.`,
      errors: () => `Red: wrong. Green: right. mIoU ${this.miou(before)} (${this.before}), ${this.miou(after)} (${this.after}).` };
    this.note.textContent = texts[this.view]();
  }

  miou(labels) {
    return percent(iou(labels, this.truth, this.about.classes.length).mean);
  }

  tabulate() {
    const { classes, palette } = this.about;
    const maps = [this.other.labels, this.picture.labels];
    const columns = this.truth ? maps.map((labels) => iou(labels, this.truth, classes.length).classes)
      : maps.map((labels) => shares(labels, classes.length));
    const order = classes.map((_, id) => id).filter((id) => columns.some((column) => column[id]))
      .sort((a, b) => columns[1][b] - columns[1][a]);
    const rows = order.map((id) => {
      const [a, b] = columns.map((column) => column[id]);
      const change = a === null || b === null ? "–" : `${b >= a ? "+" : "−"}${(100 * Math.abs(b - a)).toFixed(1)}`;
      return [make("span", {}, swatch(palette[id]), classes[id]), a === null ? "–" : percent(a), b === null ? "–" : percent(b), change];
    });
    const caption = this.truth ? "IoU by class" : "Share of the pixels by class";
    this.rows.replaceChildren(make("p", { className: "rs-note" }, `${caption}, in percent`),
      table(caption, ["Class", this.before, this.after, "Change"], rows));
  }

  blend(value) {
    for (const side of ["left", "right", "over"]) this.split.stage.style(side, "opacity", value / 100);
  }

  describe(x, y) {
    if (!this.picture) return [];
    const at = y * this.picture.width + x;
    const one = (title, { labels, confidence }) => [`${title}: `, swatch(this.about.palette[labels[at]]),
      make("b", {}, this.about.classes[labels[at]]), ` ${Math.round((100 * confidence[at]) / 255)} %`];
    const truth = this.truth ? ["; truth: ", this.about.classes[this.truth[at]] ?? "not counted"] : [];
    return [...one(this.before, this.other), "; ", ...one(this.after, this.picture), ...truth];
  }
}

customElements.define("rs-adaptation", Adaptation);
