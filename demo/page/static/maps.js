// Arithmetic on label maps and confidence maps, a byte a pixel, row by row. Knows no page.

export const NOTHING = 255; // a pixel without a class

// The colours of a label map as pixels for a canvas. Left out: what `only` (a Set, when not empty)
// does not hold, and what is less sure than `least` (0..255).
export function colours(labels, palette, { only = new Set(), confidence = null, least = 0 } = {}) {
  const table = new Uint32Array(256);
  palette.forEach((colour, id) => { if (!only.size || only.has(id)) table[id] = word(colour); });
  const out = new Uint32Array(labels.length);
  for (let i = 0; i < labels.length; i++) {
    if (!confidence || confidence[i] >= least) out[i] = table[labels[i]];
  }
  return out;
}

// Values 0..255 in the colours of a scale of 256 [r, g, b].
export function heat(values, scale) {
  const table = Uint32Array.from(scale, word);
  return Uint32Array.from(values, (value) => table[value]);
}

// Marks the pixels where the class to the right or below is another one.
export function contours(labels, width, colour = [255, 255, 255]) {
  const out = new Uint32Array(labels.length);
  const mark = word(colour);
  for (let i = 0; i < labels.length; i++) {
    const right = (i + 1) % width && labels[i] !== labels[i + 1];
    const below = i + width < labels.length && labels[i] !== labels[i + width];
    if (right || below) out[i] = mark;
  }
  return out;
}

// Marks the pixels where `differs(i)` holds.
export function marked(length, differs, colour) {
  const out = new Uint32Array(length);
  const mark = word(colour);
  for (let i = 0; i < length; i++) if (differs(i)) out[i] = mark;
  return out;
}

// The share (0..1) of the pixels that each of `count` classes has.
export function shares(labels, count) {
  const pixels = new Float64Array(256);
  for (const id of labels) pixels[id]++;
  return Array.from({ length: count }, (_, id) => pixels[id] / labels.length);
}

// IoU of each class that the truth shows (0..1; null for the others) and its mean: over the same
// classes, whatever is predicted beside them. Pixels whose truth is no class are not counted.
export function iou(labels, truth, count) {
  const both = new Float64Array(count), either = new Float64Array(count), shown = new Set();
  for (let i = 0; i < labels.length; i++) {
    if (truth[i] >= count) continue;
    shown.add(truth[i]);
    either[truth[i]]++;
    if (labels[i] === truth[i]) both[truth[i]]++;
    else either[labels[i]]++;
  }
  const classes = Array.from(both, (hit, id) => (shown.has(id) ? hit / either[id] : null));
  const there = classes.filter((value) => value !== null);
  return { classes, mean: there.reduce((sum, value) => sum + value, 0) / (there.length || 1) };
}

// Gives every pixel that hangs together with pixel `start` and has its class the class `id`.
export function fill(labels, width, start, id) {
  const old = labels[start];
  if (old === id) return;
  const open = [start];
  labels[start] = id;
  const visit = (i) => { if (labels[i] === old) { labels[i] = id; open.push(i); } };
  while (open.length) {
    const i = open.pop();
    if (i % width) visit(i - 1);
    if ((i + 1) % width) visit(i + 1);
    if (i >= width) visit(i - width);
    if (i + width < labels.length) visit(i + width);
  }
}

// Gives the disc around (x, y) the class `id`.
export function dab(labels, width, x, y, radius, id) {
  const height = labels.length / width;
  for (let v = Math.max(0, Math.ceil(y - radius)); v <= Math.min(height - 1, y + radius); v++) {
    for (let u = Math.max(0, Math.ceil(x - radius)); u <= Math.min(width - 1, x + radius); u++) {
      if ((u - x) ** 2 + (v - y) ** 2 <= radius ** 2) labels[v * width + u] = id;
    }
  }
}

// An opaque colour [r, g, b] as a canvas holds it in memory (bytes R, G, B, A).
function word([red, green, blue]) {
  return new Uint32Array(new Uint8Array([red, green, blue, 255]).buffer)[0];
}
