/// <reference types="vitest/config" />
import { defineConfig } from "vite";

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
  worker: { format: "es" },
  server: { proxy: { "/api": server, "/health": server } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
