/**
 * Blosc 1 frames with LZ4, decoded without WebAssembly glue.
 *
 * The usual decoder builds its functions from strings, which the server's content policy forbids for good reason; and this one
 * is a fortieth of its size. It reads what our writers write (LZ4 or stored, no shuffle, byte shuffle, bit shuffle) and
 * refuses other compressors by name. Format: c-blosc's README_HEADER.rst and blosc.c, LZ4's lz4_Block_format.md.
 */

const HEADER = 16;
const FLAG = { shuffle: 0x1, stored: 0x2, bitShuffle: 0x4, unsplit: 0x10 } as const;
const LZ4 = 1;
const COMPRESSORS = ["BloscLZ", "LZ4", "Snappy", "zlib", "Zstandard"];
/** Blocks are cut into one stream a byte of the type only up to these sizes (`MAX_SPLITS`, `MIN_BUFFERSIZE`). */
const MAX_SPLITS = 16;
const MIN_SPLIT = 128;

export class BloscError extends Error {
	constructor(message: string) {
		super(`blosc: ${message}`);
		this.name = "BloscError";
	}
}

/** Decodes one frame. Throws `BloscError` if it is damaged or made by another compressor. */
export function decodeBlosc(frame: Uint8Array): Uint8Array<ArrayBuffer> {
	if (frame.length < HEADER) {
		throw new BloscError("the frame is shorter than its header");
	}
	const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
	const flags = frame[2]!;
	const typeSize = frame[3]!;
	const size = view.getUint32(4, true);
	const blockSize = view.getUint32(8, true);
	if (view.getUint32(12, true) > frame.length || (size > 0 && blockSize === 0) || typeSize === 0) {
		throw new BloscError("the frame is cut short or its header is damaged");
	}
	if (flags & FLAG.stored) {
		if (HEADER + size > frame.length) {
			throw new BloscError("the frame is cut short");
		}
		return frame.slice(HEADER, HEADER + size);
	}
	if (size > 0 && flags >> 5 !== LZ4) {
		throw new BloscError(`compressed with ${COMPRESSORS[flags >> 5] ?? "an unknown compressor"}, not LZ4`);
	}
	const out = new Uint8Array(size);
	const scratch = new Uint8Array(Math.min(blockSize, size));
	for (let i = 0, start = 0; start < size; i++, start += blockSize) {
		const length = Math.min(blockSize, size - start);
		const block = out.subarray(start, start + length);
		const shuffled = flags & (FLAG.shuffle | FLAG.bitShuffle) ? scratch.subarray(0, length) : block;
		const isSplit =
			!(flags & FLAG.unsplit) && typeSize <= MAX_SPLITS && blockSize / typeSize >= MIN_SPLIT && length === blockSize;
		readBlock(frame, view, view.getUint32(HEADER + 4 * i, true), isSplit ? typeSize : 1, shuffled);
		if (flags & FLAG.bitShuffle) {
			unshuffleBits(shuffled, block, typeSize);
		} else if (flags & FLAG.shuffle) {
			unshuffleBytes(shuffled, block, typeSize);
		}
	}
	return out;
}

function readBlock(frame: Uint8Array, view: DataView, offset: number, streams: number, out: Uint8Array): void {
	const length = out.length / streams;
	let at = offset;
	for (let i = 0; i < streams; i++) {
		if (at + 4 > frame.length) {
			throw new BloscError("a block lies outside the frame");
		}
		const packed = view.getInt32(at, true);
		at += 4;
		if (packed < 0 || at + packed > frame.length) {
			throw new BloscError("a block lies outside the frame");
		}
		const source = frame.subarray(at, at + packed);
		const target = out.subarray(i * length, (i + 1) * length);
		if (packed === length) {
			target.set(source);
		} else {
			decodeLz4(source, target);
		}
		at += packed;
	}
}

/** One LZ4 block that fills `out` exactly. */
export function decodeLz4(source: Uint8Array, out: Uint8Array): void {
	let from = 0;
	let to = 0;
	while (from < source.length) {
		const token = source[from++]!;
		let literals = token >> 4;
		if (literals === 15) {
			let more: number;
			do {
				more = source[from++] ?? 0;
				literals += more;
			} while (more === 255);
		}
		if (from + literals > source.length || to + literals > out.length) {
			throw new BloscError("an LZ4 literal leaves its block");
		}
		// A call costs more than a few bytes.
		if (literals > 16) {
			out.set(source.subarray(from, from + literals), to);
			from += literals;
			to += literals;
		} else {
			for (let i = 0; i < literals; i++) {
				out[to++] = source[from++]!;
			}
		}
		if (from >= source.length) {
			break;
		}
		const distance = source[from]! | (source[from + 1]! << 8);
		from += 2;
		let length = token & 15;
		if (length === 15) {
			let more: number;
			do {
				more = source[from++] ?? 0;
				length += more;
			} while (more === 255);
		}
		length += 4;
		if (distance === 0 || distance > to || to + length > out.length) {
			throw new BloscError("an LZ4 match leaves its block");
		}
		to = copyMatch(out, to, distance, length);
	}
	if (to !== out.length) {
		throw new BloscError("an LZ4 block has another length than announced");
	}
}

/** A match may overlap what it writes: then it repeats a pattern. */
function copyMatch(out: Uint8Array, to: number, distance: number, length: number): number {
	if (distance === 1) {
		out.fill(out[to - 1]!, to, to + length);
	} else if (distance >= length) {
		out.copyWithin(to, to - distance, to - distance + length);
	} else {
		for (let i = to; i < to + length; i++) {
			out[i] = out[i - distance]!;
		}
	}
	return to + length;
}

function unshuffleBytes(source: Uint8Array, out: Uint8Array, typeSize: number): void {
	const count = Math.floor(source.length / typeSize);
	for (let b = 0; b < typeSize; b++) {
		for (let i = 0, from = b * count, to = b; i < count; i++, from++, to += typeSize) {
			out[to] = source[from]!;
		}
	}
	out.set(source.subarray(count * typeSize), count * typeSize);
}

/** Bit j of a byte, moved to the lowest bit of byte j: bits 0 to 3 in `LOW`, 4 to 7 in `HIGH`. */
const LOW = new Int32Array(256);
const HIGH = new Int32Array(256);
for (let byte = 0; byte < 256; byte++) {
	for (let j = 0; j < 4; j++) {
		LOW[byte]! |= ((byte >> j) & 1) << (8 * j);
		HIGH[byte]! |= ((byte >> (j + 4)) & 1) << (8 * j);
	}
}

/**
 * Row `8 b + k` of the source holds bit k of byte b of all elements, eight elements a byte. So eight bytes, one from each of
 * eight rows, are byte b of eight elements, transposed.
 */
function unshuffleBits(source: Uint8Array, out: Uint8Array, typeSize: number): void {
	const count = Math.floor(source.length / typeSize);
	if (count % 8 !== 0) {
		// c-blosc leaves such a block as it is.
		out.set(source);
		return;
	}
	const row = count / 8;
	for (let b = 0; b < typeSize; b++) {
		const rows = b * count;
		for (let i = 0; i < row; i++) {
			let low = 0;
			let high = 0;
			for (let k = 0, at = rows + i; k < 8; k++, at += row) {
				const byte = source[at]!;
				if (byte !== 0) {
					low |= LOW[byte]! << k;
					high |= HIGH[byte]! << k;
				}
			}
			let to = 8 * i * typeSize + b;
			for (let j = 0; j < 4; j++, to += typeSize) {
				out[to] = low >>> (8 * j);
			}
			for (let j = 0; j < 4; j++, to += typeSize) {
				out[to] = high >>> (8 * j);
			}
		}
	}
	out.set(source.subarray(count * typeSize), count * typeSize);
}

/** The codec as zarrita wants it; `vite.config.ts` puts it in the place of `numcodecs/blosc`. */
export default class BloscCodec {
	readonly kind = "bytes_to_bytes";

	static fromConfig(): BloscCodec {
		return new BloscCodec();
	}

	encode(): never {
		throw new BloscError("the viewer only reads");
	}

	decode(frame: Uint8Array): Uint8Array {
		return decodeBlosc(frame);
	}
}
