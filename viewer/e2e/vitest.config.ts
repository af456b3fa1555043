import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** Browser tests: a real server with the sample images, and headless Chromium. */
export default defineConfig({
	root: fileURLToPath(new URL("..", import.meta.url)),
	test: {
		include: ["e2e/**/*.e2e.ts"],
		environment: "node",
		fileParallelism: false,
		testTimeout: 90_000,
		hookTimeout: 240_000,
	},
});
