/// <reference types="vitest/config" />
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const source = (path: string): string => fileURLToPath(new URL(`src/${path}`, import.meta.url));

const server = process.env.SPECIMG_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
	base: "/",
	build: {
		outDir: "../src/specimg/api/static",
		emptyOutDir: true,
		target: "es2022",
		// The server's content policy allows no data: URLs.
		assetsInlineLimit: 0,
		modulePreload: { polyfill: false },
	},
	resolve: {
		alias: {
			"numcodecs/blosc": source("image/blosc.ts"),
			"numcodecs/lz4": source("image/no_codec.ts"),
			"numcodecs/zstd": source("image/no_codec.ts"),
		},
	},
	worker: { format: "es" },
	server: { proxy: { "/api": server, "/health": server } },
	test: { include: ["src/**/*.test.ts"], environment: "node" },
});
