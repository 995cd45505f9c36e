// Where a picture comes in: a file, the clipboard, a drop, the camera, or one of the bundle's own.

import { fetched, session } from "./session.js";
import { button, choice, make } from "./html.js";

class Input extends HTMLElement {
  async connectedCallback() {
    if (this.built) return;
    this.built = true;
    try {
      this.about = await session.about;
    } catch (error) {
      return this.append(make("p", { className: "rs-status rs-error", role: "alert" }, error.message));
    }
    this.status = make("p", { className: "rs-status", role: "status", id: "status" });
    this.warning = make("div", { className: "rs-warning", id: "warning", hidden: true });
    this.append(make("div", { className: "rs-sources" }, this.chooser(),
      navigator.mediaDevices?.getUserMedia ? button("Camera", () => this.openCamera(), { id: "camera" }) : null,
      this.examples()), this.camera(), this.warning, this.status);
    this.listen();
    this.tell();
    if (!session.source) this.example(0);
  }

  chooser() {
    const file = make("input", { type: "file", id: "upload", accept: "image/jpeg,image/png,image/webp",
      onchange: () => { if (file.files[0]) session.choose(file.files[0], file.files[0].name); file.value = ""; } });
    return make("label", { className: "rs-button rs-primary rs-file" }, file, "Choose a picture");
  }

  examples() {
    const pictures = Array.from({ length: this.about.examples }, (_, i) => {
      const image = make("img", { src: `roadshift/examples/${i}`, alt: "" });
      return make("button", { type: "button", className: "rs-example", "aria-label": `Example ${i + 1}`,
        onclick: () => this.example(i) }, image);
    });
    return make("div", { className: "rs-examples", role: "group", "aria-label": "Examples", id: "examples" }, ...pictures);
  }

  example(i) {
    session.choose(fetched(`roadshift/examples/${i}`).then((answer) => answer.blob()), `example ${i + 1}`);
  }

  listen() {
    session.addEventListener("status", () => this.tell());
    session.addEventListener("picture", () => this.warn(session.picture));
    document.addEventListener("paste", (event) => this.take(event.clipboardData, event));
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => this.take(event.dataTransfer, event));
  }

  take(data, event) {
    const [file] = data?.files ?? [];
    if (!file) return;
    event.preventDefault();
    session.choose(file, file.name || "the pasted picture");
  }

  tell() {
    const { text, kind } = session.status ?? { text: "Fetching an example …", kind: "busy" };
    this.status.textContent = text;
    this.status.className = `rs-status rs-${kind}`;
    if (kind === "error" && session.picture) this.warn(session.picture); // the size on show again
  }

  // The picture is not of the size the network learnt at: says so, and offers that size.
  warn({ advice }) {
    this.warning.hidden = !advice;
    if (!advice) return;
    const options = [["own", "As it is"], ["learnt", `At the size it learnt (${advice.learnt})`]];
    this.warning.replaceChildren(make("p", {}, advice.text),
      choice("Size at which the network sees the picture", options, session.size, (size) => session.resize(size)));
  }

  camera() {
    this.video = make("video", { autoplay: true, muted: true, playsInline: true, "aria-label": "Camera" });
    this.viewfinder = make("div", { className: "rs-camera", hidden: true }, this.video,
      button("Take this picture", () => this.snap(), { id: "snap" }), button("Close", () => this.closeCamera()));
    return this.viewfinder;
  }

  async openCamera() {
    if (this.opening || this.video.srcObject) return;
    this.opening = true;
    try {
      this.video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      this.viewfinder.hidden = false;
    } catch {
      session.say("The camera cannot be used: allow it for this page, or choose a picture.", "error");
    } finally {
      this.opening = false;
    }
  }

  closeCamera() {
    for (const track of this.video.srcObject?.getTracks() ?? []) track.stop();
    this.video.srcObject = null;
    this.viewfinder.hidden = true;
  }

  snap() {
    if (!this.video.videoWidth) return; // its first picture has not come yet
    const canvas = make("canvas", { width: this.video.videoWidth, height: this.video.videoHeight });
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    this.closeCamera();
    canvas.toBlob((blob) => session.choose(blob, "the camera's picture"), "image/jpeg", 0.95);
  }
}

customElements.define("rs-input", Input);
