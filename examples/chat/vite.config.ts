import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  build: {
    chunkSizeWarningLimit: 700, // most of it is autobahn-js
    rollupOptions: {
      // autobahn-js contains an eval, which nobody here can change.
      onwarn: (warning, warn) => {
        if (warning.code !== "EVAL") warn(warning);
      },
    },
  },
  // `npm run dev` serves the page itself, and passes WAMP on to the back end.
  server: { proxy: { "/live": { target: "ws://127.0.0.1:8000", ws: true } } },
});
