// What this visitor has chosen and what came back of it. Lives in this browser tab alone: the server
// keeps nothing, so another bundle's answer about the same picture is asked for with the picture.

const PICTURE = "picture"; // an event: `session.picture` is another one

class Session extends EventTarget {
  about = fetched("roadshift/about").then((answer) => answer.json());
  source = null; // {blob, name}
  size = "own"; // at which the network sees the picture: "own" or "learnt"
  answers = []; // by model
  turn = 0;

  get picture() {
    return this.answers[0] ?? null;
  }

  // Takes a picture file, or the promise of one; what it shows is announced by the event, what went
  // wrong by the status. The last choice counts, however long an earlier one takes.
  async choose(file, name, size = "own") {
    const turn = ++this.turn;
    this.asking?.abort();
    const { signal } = this.asking = new AbortController();
    this.say(`Looking at ${name} …`, "busy");
    try {
      const blob = await file;
      if (turn !== this.turn) return;
      const answer = await this.ask(blob, 0, size, signal);
      if (turn !== this.turn) return;
      this.size = size;
      this.source = { blob, name };
      this.answers = [answer];
      this.say(`${name}: ${answer.note}`, "done");
      this.dispatchEvent(new Event(PICTURE));
    } catch (error) {
      if (turn === this.turn) this.say(error.message, "error");
    }
  }

  resize(size) {
    if (this.source) this.choose(this.source.blob, this.source.name, size);
  }

  // What the bundle of that number makes of the picture on show; asked for once.
  async answer(model) {
    const { answers, source, size } = this;
    return answers[model] ??= await this.ask(source.blob, model, size);
  }

  async ask(blob, model, size, signal) {
    const answer = await post(`roadshift/segment?model=${model}&size=${size}`, blob, signal);
    const [image, labels, confidence] = await Promise.all([
      pixels(answer.image), channel(answer.labels), channel(answer.confidence),
    ]);
    return { ...answer, canvas: image, labels, confidence,
             labelsFile: answer.labels, confidenceFile: answer.confidence };
  }

  say(text, kind) {
    this.status = { text, kind };
    this.dispatchEvent(new Event("status"));
  }
}

// The demo's answer; throws an Error that says in words what is wrong.
export async function fetched(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("The demo does not answer: is it still running? Reload the page to try again.");
  }
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({}));
  throw new Error(error ?? `The demo answered with status ${answer.status}.`);
}

// POSTs a body and gives the JSON that came back.
export async function post(address, body, signal) {
  const answer = await fetched(address, { method: "POST", body, signal });
  return answer.json();
}

// A canvas with the picture behind an address or in a file.
export async function pixels(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0);
  return canvas;
}

// The values 0..255 of a picture of one channel.
export async function channel(address) {
  const canvas = await pixels(address);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const values = new Uint8Array(data.length / 4);
  for (let i = 0; i < values.length; i++) values[i] = data[4 * i];
  return values;
}

export const session = new Session();
