// The camera under its class colours while it runs, on the tab Video.

import { bringIntoView, button, make, slider, swatch } from "./html.js";
import { colours } from "./maps.js";
import { NewestFrames } from "./newest_frames.js";
import { channel } from "./session.js";
import { Stage } from "./stage.js";

const FULL = 1013; // the server's code for: others have all the places
const HIDDEN = "The camera is off, since another tab was opened.";
const WINDOW = 2000; // milliseconds over which the figures are taken
const OFTEN = 500; // and between two texts of them
const POSSIBLE = navigator.mediaDevices?.getUserMedia && "requestVideoFrameCallback" in HTMLVideoElement.prototype;

export class Live {
  opacity = 60;
  turn = 0; // of starts and stops: a camera that is allowed after a stop is not wanted any more
  frames = null;
  canvas = make("canvas");

  constructor(about) {
    this.about = about;
    this.button = button("Live camera", () => (this.frames ? this.stop("The camera is off.") : this.start()),
      { id: "live-camera", hidden: !POSSIBLE });
    this.status = make("p", { className: "rs-status", role: "status", id: "live-status" });
    this.element = make("div", { className: "rs-live" }, this.status);
    new IntersectionObserver(() => {
      if (this.frames && !this.element.offsetParent) this.stop(HIDDEN);
    }).observe(this.element);
  }

  build() {
    this.video = make("video", { className: "rs-layer", muted: true, playsInline: true, autoplay: true });
    this.stage = new Stage({ label: "The camera under its class colours", layers: ["image", "colours"] });
    this.stage.box.prepend(this.video); // what is seen until the first answer
    this.figures = make("p", { className: "rs-note", id: "live-figures" }); // no live region: it changes all the time
    const { classes, palette } = this.about;
    this.view = make("div", {}, this.stage.element, this.figures,
      make("div", { className: "rs-controls" }, slider("Opacity", { value: this.opacity, change: (value) => { this.opacity = value; this.blend(); } })),
      make("ul", { className: "rs-key", "aria-label": "Classes" }, ...classes.map((name, id) => make("li", {}, swatch(palette[id]), name))));
    this.element.append(this.view);
    this.blend();
  }

  async start() {
    const turn = ++this.turn;
    this.tell("Asking for the camera …", "busy");
    let camera;
    try {
      camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 640 } } });
    } catch {
      if (turn === this.turn) this.tell("The camera cannot be used: allow it for this page.", "error");
      return;
    }
    if (turn !== this.turn) return end(camera);
    if (!this.element.offsetParent) {
      end(camera);
      return this.tell(HIDDEN, "done");
    }
    if (!this.view) this.build();
    this.view.hidden = false;
    this.button.textContent = "Stop the camera";
    this.tell("Waiting for the first answer …", "busy");
    for (const track of camera.getTracks()) track.onended = () => this.stop("The camera was taken away.", "error");
    this.video.srcObject = camera;
    this.answers = [];
    this.written = 0;
    this.figures.textContent = "";
    const address = new URL("roadshift/live", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    const frames = this.frames = new NewestFrames(address, { take: () => this.take(),
      answered: (...answer) => this.show(frames, ...answer), ended: (code, reason) => this.ended(code, reason) });
    this.follow(frames);
  }

  // Offers each picture of the camera.
  follow(frames) {
    this.video.requestVideoFrameCallback(() => {
      if (frames !== this.frames) return;
      frames.offer();
      this.follow(frames);
    });
  }

  // The newest picture, no larger than those that the network learnt from.
  async take() {
    const taken = performance.now();
    const { videoWidth: width, videoHeight: height } = this.video;
    const scale = Math.min(1, Math.sqrt(this.about.livePixels / (width * height)));
    [this.canvas.width, this.canvas.height] = [Math.floor(width * scale), Math.floor(height * scale)];
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    return { taken, blob: await new Promise((done) => this.canvas.toBlob(done, "image/jpeg", 0.85)) };
  }

  async show(frames, { taken }, { error, width, height }, file) {
    if (error) return this.tell(error, "error");
    const address = URL.createObjectURL(file);
    const labels = await channel(address);
    URL.revokeObjectURL(address);
    if (frames !== this.frames) return; // stopped while its labels were decoded
    if (this.stage.size[0] !== width || this.stage.size[1] !== height) this.stage.resize(width, height);
    if (!this.answers.length) bringIntoView(this.view);
    this.stage.draw("image", this.canvas);
    this.stage.draw("colours", colours(labels, this.about.palette));
    this.tell("The camera is on. Nothing of it is kept.", "done");
    this.measure(taken, performance.now());
  }

  measure(taken, shown) {
    const before = this.answers.filter((one, i, all) => one.shown > shown - WINDOW || i === all.length - 1);
    this.answers = [...before, { taken, shown }];
    if (this.answers.length < 2 || shown - this.written < OFTEN) return;
    this.written = shown;
    const fps = (1000 * (this.answers.length - 1)) / (shown - this.answers[0].shown);
    const latency = this.answers.reduce((sum, one) => sum + one.shown - one.taken, 0) / this.answers.length;
    this.figures.textContent = `${fps.toFixed(1)} FPS, ${latency.toFixed(0)} ms from the camera to the screen, ` +
      `${this.frames.skipped} pictures of the camera skipped`;
  }

  blend() {
    this.stage.style("colours", "opacity", this.opacity / 100);
  }

  ended(code, reason) {
    if (code === FULL && !this.answers.length) this.stop(reason, "error");
    else this.stop(reason ? `The camera is off: ${reason}.` : "The camera is off: the demo does not answer. Is it still running?", "error");
  }

  stop(text, kind = "done") {
    this.turn++;
    end(this.video.srcObject);
    this.video.srcObject = null;
    this.frames.close();
    this.frames = null;
    for (const name of ["image", "colours"]) this.stage.draw(name, null);
    this.view.hidden = true;
    this.button.textContent = "Live camera";
    this.tell(text, kind);
  }

  // Said once, not with every picture.
  tell(text, kind) {
    if (this.status.textContent === text) return;
    this.status.textContent = text;
    this.status.className = `rs-status rs-${kind}`;
  }
}

function end(camera) {
  for (const track of camera?.getTracks() ?? []) track.stop();
}
