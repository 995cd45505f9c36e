// A ZIP file whose contents are stored as they are (PKWARE APPNOTE 4.3): pictures are compressed.

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 255];
  return ~crc >>> 0;
}

// Little-endian numbers: [size in bytes, value], …
function record(...fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}

// `files` is {name: Blob}.
export async function zip(files) {
  const parts = [], directory = [];
  let offset = 0, listed = 0;
  for (const [name, blob] of Object.entries(files)) {
    const title = new TextEncoder().encode(name);
    const bytes = new Uint8Array(await blob.arrayBuffer());
    // Version 2.0, UTF-8 names, stored, no time (1980-01-01), CRC, both sizes, the name's length.
    const common = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 0x21], [4, crc32(bytes)],
                    [4, bytes.length], [4, bytes.length], [2, title.length], [2, 0]];
    const local = record([4, 0x04034b50], ...common);
    const entry = record([4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]);
    parts.push(local, title, bytes);
    directory.push(entry, title);
    offset += local.length + title.length + bytes.length;
    listed += entry.length + title.length;
  }
  const count = Object.keys(files).length;
  const end = record([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, listed], [4, offset], [2, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
