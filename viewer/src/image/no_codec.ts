/** Stands in `vite.config.ts` for codecs that no image of ours is stored with, so that their megabyte is not shipped. */
export default {
	fromConfig(): never {
		throw new Error("this viewer reads Blosc with LZ4 only");
	},
};
