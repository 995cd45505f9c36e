// A WebSocket that gets the newest picture whenever the last one is answered: never two on the way,
// so nothing piles up. Knows no page.

const PAUSE = 1000; // milliseconds after an answer that says no

export class NewestFrames {
  skipped = 0; // pictures that a newer one came before

  // `take()` gives the newest picture, with a file in `blob`; `answered(picture, head, file)` shows it,
  // and has no file where the head holds an error; `ended(code, reason)` is called when the server ends it.
  constructor(address, { take, answered, ended }) {
    Object.assign(this, { take, answered });
    this.socket = new WebSocket(address);
    this.socket.onopen = () => this.next();
    this.socket.onmessage = ({ data }) => this.read(data);
    this.socket.onclose = ({ code, reason }) => ended(code, reason);
  }

  // There is a newer picture.
  offer() {
    if (this.offered) this.skipped++;
    this.offered = true;
    this.next();
  }

  async next() {
    if (this.picture || !this.offered || this.socket.readyState !== WebSocket.OPEN) return;
    this.offered = false;
    this.picture = this.take();
    this.picture = await this.picture;
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(this.picture.blob);
  }

  async read(data) {
    if (typeof data === "string") {
      this.head = JSON.parse(data);
      if (!this.head.error) return; // the file follows
    }
    await this.answered(this.picture, this.head, this.head.error ? null : data);
    if (this.head.error) await new Promise((done) => setTimeout(done, PAUSE));
    this.picture = null;
    this.next();
  }

  close() {
    this.socket.onclose = null;
    this.socket.close();
  }
}
