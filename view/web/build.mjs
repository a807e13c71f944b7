// Builds the files of the page into a directory: node build.mjs DIR. scripts/view-assets calls it.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const out = process.argv[2];
if (!out) {
  console.error("usage: node build.mjs DIR");
  process.exit(2);
}
await mkdir(out, { recursive: true });
const result = await build({
  entryPoints: ["src/main.ts"],
  outfile: join(out, "app.js"),
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "ascii", // the same bytes in every encoding, and nothing invisible in the file
  legalComments: "none", // licences.txt has the licences
  metafile: true,
  logLevel: "warning",
});
await build({
  entryPoints: ["src/style.css"],
  outfile: join(out, "style.css"),
  bundle: true,
  minify: true,
  target: "es2022",
  logLevel: "warning",
});
await copyFile("src/index.html", join(out, "index.html"));
await copyFile("src/icon.svg", join(out, "icon.svg"));
await writeFile(join(out, "licences.txt"), await licences(Object.keys(result.metafile.inputs)));

await writeFile(join(out, "sources.sha256"), (await sourcesHash()) + "\n");

// sourcesHash returns a hash of the sources, by which a test without Node finds out whether the files are up to date.
async function sourcesHash() {
  const files = (await readdir("src", { recursive: true, withFileTypes: true })).filter((f) => f.isFile()).map((f) => join(f.parentPath, f.name).replaceAll("\\", "/"));
  const hash = createHash("sha256");
  for (const file of ["build.mjs", "package-lock.json", ...files.sort()]) hash.update(file + "\0").update(await readFile(file)).update("\0");
  return hash.digest("hex");
}

// licences returns the licences of the packages whose files are in the bundle.
async function licences(inputs) {
  const packages = new Set();
  for (const input of inputs) {
    const inPackage = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (inPackage) packages.add(inPackage[1]);
  }
  if (packages.size === 0) return "The page contains no code of other projects.\n";
  let text = "The page contains code of these packages.\n";
  for (const name of [...packages].sort()) {
    const dir = join("node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(dir, "package.json"), "utf8"));
    const file = (await readdir(dir)).find((f) => /^licen[cs]e/i.test(f));
    if (!file) throw new Error(`${name} has no file with its licence`);
    text += `\n${name} ${version} (${license})\n\n${(await readFile(join(dir, file), "utf8")).trim()}\n`;
  }
  return text;
}
