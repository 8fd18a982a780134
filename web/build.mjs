// Bundles scripts and styles into the Python package. The same lock file makes the same bytes.
import { build } from "esbuild";

const outdir = process.argv[2] ?? "../src/cloister/web/static";

await build({
  entryPoints: { app: "src/index.js" },
  outdir,
  bundle: true,
  minify: true,
  target: ["es2022"],
  legalComments: "none",
  banner: { js: "/* Made by `./dev web` of web/src and of the packages in web/package-lock.json */" },
});
await build({
  entryPoints: { "service-worker": "src/service-worker.js" },
  outdir,
  bundle: true,
  minify: true,
  target: ["es2022"],
  legalComments: "none",
});
await build({
  entryPoints: { app: "src/app.css" },
  outdir,
  bundle: true,
  minify: true,
  target: ["chrome120", "firefox121", "safari17"],
});
