// Takes the pictures in docs/ of the demo, once it has run for some time: `make page-pictures`.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { endBrowser, eventually, open } from "./support.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const folder = process.argv[2] ?? join(root, "docs/pictures");
const seconds = Number(process.argv[3] ?? 120);
const binary = process.env.SALLYPORT ?? join(root, "target/debug/sallyport");

mkdirSync(folder, { recursive: true });
const place = mkdtempSync(join(tmpdir(), "sallyport-pictures-"));
const file = join(place, "sallyport.yaml");
const yaml = readFileSync(join(root, "conf/quickstart.yaml"), "utf8");
writeFileSync(file, yaml);
const demo = spawn(binary, ["demo", "--config", "sallyport.yaml"], { cwd: place, stdio: ["ignore", "pipe", "ignore"] });
const lines = [];
createInterface({ input: demo.stdout }).on("line", (line) => lines.push(line));

/** Replaces the file by a rename. */
function edit(text) {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

try {
  const line = await eventually("the demo to serve", () => lines.find((it) => it.includes("in a browser")));
  const gateway = { admin: /http:\/\/[^/\s]+/.exec(line)[0] };
  const take = async (name, hash, width, scheme = "light") => {
    const { page, close } = await open(gateway, { hash: `#${hash}`, width, height: width > 600 ? 860 : 844, scheme });
    await page.waitForTimeout(2500);
    await page.screenshot({ path: join(folder, `page-${name}-${width}${scheme === "dark" ? "-dark" : ""}.png`) });
    await close();
  };
  // Somebody has to ask for figures to be read.
  const { page, close } = await open(gateway);
  await page.waitForTimeout(seconds * 1000);
  await close();
  await take("now", "now", 1280);
  await take("now", "now", 1280, "dark");
  await take("now", "now", 390);
  await take("origins", "origins", 1280);
  await take("explain", "explain?host=shop.example.com&path=%2Fcart&header=x-user%3A+ann", 1280);
  edit(yaml.replace("timeout: 15s", "timeout: 20s").replace("path: /cart", "path: /checkout"));
  await new Promise((resolve) => setTimeout(resolve, 3000));
  edit(yaml.replace("policy: maglev", "policy: maglef").replace("status: 301", "status: 299"));
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await take("configuration", "configuration", 1280);
  await take("configuration", "configuration", 390);
} finally {
  demo.kill();
  rmSync(place, { recursive: true, force: true });
  await endBrowser();
}
