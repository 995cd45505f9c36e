// What the page's parts have in common: an element that builds itself where the page puts it, and
// follows the picture on show, but only works while it can be seen.

import { session } from "./session.js";

export class Part extends HTMLElement {
  async connectedCallback() {
    if (this.built) return;
    this.built = true;
    this.about = await session.about;
    this.build();
    this.stale = true;
    session.addEventListener("picture", () => { this.stale = true; this.follow(); });
    new IntersectionObserver((entries) => {
      this.seen = entries.at(-1).isIntersecting;
      this.follow();
    }).observe(this);
  }

  async follow() {
    const { picture } = session;
    if (!this.stale || !this.seen || !picture) return;
    this.stale = false;
    this.setAttribute("aria-busy", "true");
    try {
      await this.show(picture);
    } catch (error) {
      if (picture !== session.picture) return; // what became of the old picture is nobody's concern
      this.stale = true; // asked for again when the part is next seen
      session.say(error.message, "error");
    } finally {
      if (picture === session.picture) this.removeAttribute("aria-busy");
    }
  }
}
