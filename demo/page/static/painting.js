// A label map under a brush: what is painted, undone, put back. Knows no server.

import { dab, fill } from "./maps.js";

const KEPT = 30; // steps that can be undone

export class Painting {
  tool = "brush";
  id = 0;
  radius = 6;
  past = [];

  open(labels, width) {
    [this.original, this.width] = [labels, width];
    this.labels = labels.slice();
    this.past = [];
  }

  // Before a stroke or a fill, so that it can be undone as a whole.
  begin() {
    this.past.push(this.labels.slice());
    if (this.past.length > KEPT) this.past.shift();
  }

  apply([x, y]) {
    if (this.tool === "fill") fill(this.labels, this.width, y * this.width + x, this.id);
    else dab(this.labels, this.width, x, y, this.radius, this.id);
  }

  // A stroke from one place to the next, without gaps.
  line([x0, y0], [x1, y1]) {
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(1, this.radius / 2)));
    for (let i = 1; i <= steps; i++) {
      this.apply([Math.round(x0 + ((x1 - x0) * i) / steps), Math.round(y0 + ((y1 - y0) * i) / steps)]);
    }
  }

  undo() {
    this.labels = this.past.pop() ?? this.labels;
  }

  reset() {
    if (this.changed) this.begin();
    this.labels = this.original.slice();
  }

  get changed() {
    return this.labels.some((id, i) => id !== this.original[i]);
  }
}
