/** Typed arrays that hold samples. 64-bit types arrive as `Float32Array`: the screen cannot show more. */
export type Samples = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | Float32Array;

export type SampleType = "int8" | "uint8" | "int16" | "uint16" | "int32" | "uint32" | "float32";

const BY_NAME = {
	int8: Int8Array,
	uint8: Uint8Array,
	int16: Int16Array,
	uint16: Uint16Array,
	int32: Int32Array,
	uint32: Uint32Array,
	float32: Float32Array,
} as const;

/** The type in which samples of a stored NumPy dtype reach the screen. */
export function sampleType(dtype: string): SampleType {
	return dtype in BY_NAME ? (dtype as SampleType) : "float32";
}

export function allocate(type: SampleType, length: number): Samples {
	return new BY_NAME[type](length);
}

/** What stands where no sample is known yet: the darkest value of the type. */
export function darkest(type: SampleType): number {
	switch (type) {
		case "int8":
			return -128;
		case "int16":
			return -32768;
		case "int32":
			return -2147483648;
		case "float32":
			// Finite, so that blending with a neighbour stays a number.
			return -3.4028234663852886e38;
		default:
			return 0;
	}
}
