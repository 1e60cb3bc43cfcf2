// What the tests of the page stand on: the gateway, origins, and a browser that may ask nobody else.

import { spawn } from "node:child_process";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const BINARY = process.env.SALLYPORT ?? join(here, "../../../target/debug/sallyport");

/** Long enough for a loaded machine; a test that waits this long fails. */
export const PATIENCE_MS = 20_000;

/** Waits until `condition` yields something. */
export async function eventually(what, condition) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`did not come true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * Tries until `attempt` takes no longer than `most` milliseconds: what is fast is fast at least once on a
 * loaded machine, and what is slow never.
 */
export async function within(most, what, attempt) {
  let best = Infinity;
  for (let tries = 0; tries < 25 && best > most; tries += 1) {
    best = Math.min(best, await attempt(tries));
  }
  console.log(`# ${what}: ${best.toFixed(0)} ms, at most ${most}`);
  if (best > most) throw new Error(`${what} took ${best} ms`);
}

/** A running gateway. */
export class Gateway {
  static async start(yaml, files = {}) {
    const gateway = new Gateway();
    gateway.folder = mkdtempSync(join(tmpdir(), "sallyport-page-"));
    gateway.config = join(gateway.folder, "sallyport.yaml");
    for (const [name, text] of Object.entries(files)) writeFileSync(join(gateway.folder, name), text);
    writeFileSync(gateway.config, yaml);
    gateway.addresses = new Map();
    gateway.log = [];
    gateway.child = spawn(BINARY, ["run", "--threads", "2", "--config", gateway.config], { stdio: ["ignore", "ignore", "pipe"] });
    createInterface({ input: gateway.child.stderr }).on("line", (line) => {
      gateway.log.push(line);
      const found = /name=(\S+) address=(\S+)/.exec(line);
      if (found) gateway.addresses.set(found[1], found[2]);
    });
    await eventually(`the gateway to listen: ${gateway.log.join("\n")}`, () => gateway.addresses.has("admin") && gateway.addresses.has("web"));
    return gateway;
  }

  get admin() {
    return `http://${this.addresses.get("admin")}`;
  }

  /** Replaces the configuration by a rename. */
  replace(yaml) {
    writeFileSync(`${this.config}.new`, yaml);
    renameSync(`${this.config}.new`, this.config);
  }

  /** The status of one request, 0 where there is none; `from` is an address of this host. */
  get(path, { host = "shop.example.com", from, headers = {} } = {}) {
    const [address, port] = this.addresses.get("web").split(":");
    return new Promise((resolve) => {
      const request = http.get({ host: address, port, path, localAddress: from, agent: false, headers: { host, ...headers } }, (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode));
        response.on("error", () => resolve(0));
      });
      request.on("error", () => resolve(0));
    });
  }

  end() {
    this.child.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** An origin that answers everything. */
export async function origin(answer = (_, response) => response.end("well")) {
  const server = http.createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const end = () => { server.closeAllConnections(); return new Promise((resolve) => server.close(resolve)); };
  return { address: `127.0.0.1:${server.address().port}`, end };
}

let browser = null;

async function launched() {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"],
  });
  return browser;
}

/** Ends the browser. */
export async function endBrowser() {
  await browser?.close();
}

/**
 * A page of the gateway in a browser of its own. Whatever it asks of anybody else, and whatever goes
 * wrong in it, fails the test when it is closed.
 */
export async function open(gateway, { hash = "", width = 1280, height = 900, scheme = "light" } = {}) {
  const context = await (await launched()).newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: "reduce" });
  context.setDefaultTimeout(PATIENCE_MS);
  const wrong = [];
  context.on("request", (request) => {
    if (!request.url().startsWith(`${gateway.admin}/`)) wrong.push(`asked ${request.url()}`);
  });
  // While the page is worked on: its files from this folder instead of those in the binary.
  const source = process.env.SALLYPORT_PAGE_SOURCE;
  if (source) {
    await context.route("**/page/**", (route) => route.fulfill({ path: join(source, new URL(route.request().url()).pathname.slice("/page/".length)) }));
  }
  const page = await context.newPage();
  page.on("pageerror", (error) => wrong.push(`threw ${error.stack}`));
  page.on("dialog", (dialog) => { wrong.push(`opened a dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("console", (message) => {
    const text = message.text();
    // A refused token is told by the browser as well.
    if (message.type() === "error" && !/status of (400|401|403|404|503)|ERR_/.test(text)) wrong.push(`said ${text}`);
  });
  await page.goto(`${gateway.admin}/${hash}`);
  const close = async () => {
    await context.close();
    if (wrong.length > 0) throw new Error(wrong.join("\n"));
  };
  return { page, close };
}
