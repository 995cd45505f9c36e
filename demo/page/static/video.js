// The tab Video: a clip goes up, progress comes back, then the clip under its class colours. Or the
// camera, live.

import { button, choice, make } from "./html.js";
import { Live } from "./live.js";
import { fetched } from "./session.js";
import { Part } from "./tab.js";

class Video extends Part {
  size = "own";

  build() {
    const file = make("input", { type: "file", accept: "video/*", id: "clip", "aria-describedby": "clip-help",
      onchange: () => { if (file.files[0]) this.work(file.files[0]); file.value = ""; } });
    this.choose = make("label", { className: "rs-button rs-primary rs-file" }, file, "Choose a clip");
    this.cancel = button("Stop", () => this.stop.abort(), { hidden: true });
    this.bar = make("progress", { hidden: true, max: 1, value: 0, "aria-label": "Frames done" });
    this.note = make("p", { className: "rs-status", role: "status", id: "clip-status" });
    this.player = make("video", { controls: true, loop: true, muted: true, playsInline: true, hidden: true, className: "rs-player",
      "aria-label": "The clip under its class colours" });
    this.link = make("a", { className: "rs-button", hidden: true }, "Download the clip (WebM)");
    this.live = new Live(this.about);
    this.append(make("div", { className: "rs-buttons" }, this.choose, this.live.button, this.sizes(), this.cancel),
      make("p", { className: "rs-note", id: "clip-help" }, "Up to 64 MB; the first half minute is shown, without sound, at most 512x1024 pixels."),
      this.live.element, this.bar, this.note, this.player, this.link);
  }

  sizes() {
    const { learnt } = this.about;
    if (!learnt) return null;
    return choice("Size at which the network sees the clip",
      [["own", "As it is"], ["learnt", `As large as what it learnt from (${learnt})`]], "own", (size) => { this.size = size; });
  }

  show() {} // a clip is not the picture on show

  async work(file) {
    this.stop?.abort();
    const stop = this.stop = new AbortController();
    this.tell(`Sending ${file.name} …`, "busy");
    this.player.hidden = this.link.hidden = true;
    this.bar.hidden = this.cancel.hidden = false;
    this.bar.removeAttribute("value");
    try {
      const clip = await this.send(file, stop.signal);
      URL.revokeObjectURL(this.player.src);
      this.link.href = this.player.src = URL.createObjectURL(clip);
      this.link.download = `${file.name.replace(/\.\w+$/, "")}.overlay.webm`;
      this.player.hidden = this.link.hidden = false;
      this.tell(`${file.name} is done.`, "done");
      this.player.play().catch(() => {});
    } catch (error) {
      if (stop === this.stop) this.tell(stop.signal.aborted ? "Stopped." : error.message, stop.signal.aborted ? "done" : "error");
    } finally {
      if (stop === this.stop) this.bar.hidden = this.cancel.hidden = true;
    }
  }

  tell(text, kind) {
    this.note.textContent = text;
    this.note.className = `rs-status rs-${kind}`;
  }

  async send(file, signal) {
    const answer = await fetched(`roadshift/video?size=${this.size}`, { method: "POST", body: file, signal });
    const reader = answer.body.getReader();
    let kept = new Uint8Array();
    for (;;) {
      const end = kept.indexOf(10);
      if (end < 0) {
        const { done, value } = await reader.read();
        if (done) throw new Error("The demo stopped before the clip was done: try again.");
        kept = joined(kept, value);
        continue;
      }
      const line = JSON.parse(new TextDecoder().decode(kept.subarray(0, end)));
      kept = kept.subarray(end + 1);
      if (line.error) throw new Error(line.error);
      if (line.bytes) return this.rest(reader, kept, line.bytes);
      this.progress(line);
    }
  }

  async rest(reader, kept, bytes) {
    const parts = [kept];
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) parts.push(chunk.value);
    const clip = new Blob(parts, { type: "video/webm" });
    if (clip.size !== bytes) throw new Error("The clip did not arrive whole: try again.");
    return clip;
  }

  progress({ done, of }) {
    this.bar.value = done / of;
    this.note.textContent = `Frame ${done} of ${of} …`;
  }
}

function joined(a, b) {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

customElements.define("rs-video", Video);
