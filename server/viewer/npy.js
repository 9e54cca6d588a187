// Numbers of a NumPy file, version 1 or 2, of the kinds that the server writes.
const KINDS = { "<f4": Float32Array, "<f8": Float64Array, "<i2": Int16Array, "<u2": Uint16Array, "|u1": Uint8Array, "<i4": Int32Array };

// {shape, values}: `values` in C order.
export function parseNpy(buffer) {
  const view = new DataView(buffer);
  const start = view.getUint8(6) === 1 ? 10 : 12;
  const length = start === 10 ? view.getUint16(8, true) : view.getUint32(8, true);
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, start, length));
  const Kind = KINDS[header.match(/'descr': '([^']+)'/)?.[1]];
  if (!Kind) throw new Error("The server sent numbers of an unknown kind.");
  const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(",").filter((v) => v.trim()).map(Number);
  return { shape, values: new Kind(buffer.slice(start + length)) };
}
