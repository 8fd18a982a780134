// Bundles scripts and styles into the Python package. The same lock file makes the same bytes.
import { readFile } from "node:fs/promises";
import { build } from "esbuild";

const outdir = process.argv[2] ?? "../src/cloister/web/static";

// Where xterm.js writes styles into the page, which the policy of our pages forbids: see src/terminal/sheets.js.
const STYLES = [
  [/[\w.]+\.createElement\("style"\)/g, "__sheetElement()", 3],
  [/(\w+)\.setAttribute\("style",`\$\{\1\.getAttribute\("style"\)\|\|""\}\$\{(\w+)\};`\)/g, "$1.style.cssText+=`;${$2};`", 1],
];

const withoutInlineStyles = {
  name: "without inline styles",
  setup({ onLoad }) {
    onLoad({ filter: /@xterm\/xterm\/lib\/xterm\.mjs$/ }, async ({ path }) => {
      let contents = await readFile(path, "utf8");
      for (const [found, put, times] of STYLES) {
        const there = contents.match(found)?.length;
        if (there !== times) throw new Error(`xterm.js has ${there} of ${found}, not ${times}: look at it again`);
        contents = contents.replace(found, put);
      }
      const sheets = new URL("src/terminal/sheets.js", import.meta.url).pathname;
      return { contents: `import { sheetElement as __sheetElement } from ${JSON.stringify(sheets)};\n${contents}` };
    });
  },
};

const common = { outdir, bundle: true, minify: true, legalComments: "none" };
const banner = { js: "/* Made by `./dev web` of web/src and of the packages in web/package-lock.json */" };
const scripts = { ...common, target: ["es2022"], banner };

await build({ ...scripts, entryPoints: { app: "src/index.js" } });
// Loaded by the pages that need them, when they need them.
await build({
  ...scripts,
  entryPoints: { terminal: "src/terminal/index.js", review: "src/review.js" },
  format: "esm",
  loader: { ".css": "text" },
  plugins: [withoutInlineStyles],
});
await build({
  ...common,
  entryPoints: { "service-worker": "src/service-worker.js" },
  target: ["es2022"],
});
await build({
  ...common,
  entryPoints: { app: "src/all.css" },
  target: ["chrome120", "firefox121", "safari17"],
});
