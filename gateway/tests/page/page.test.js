// The page as its users meet it: the real gateway, a real browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, test } from "node:test";
import { Gateway, endBrowser, eventually, open, origin, within } from "./support.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

after(endBrowser);

const LISTENERS = "listeners:\n  - { name: web, address: 127.0.0.1:0 }\nadmin: { address: 127.0.0.1:0 }\n";

/** A shop with an upstream of these endpoints. */
function shop(endpoints, more = "") {
  return `${LISTENERS}${more}upstreams:
  - name: api
    health_check: { http: { path: /healthz }, interval: 500ms, timeout: 400ms, healthy: 1, unhealthy: 1 }
    endpoints: [ ${endpoints.map((it) => `{ address: "${it}" }`).join(", ")} ]
virtual_hosts:
  - name: shop
    domains: [shop.example.com]
    routes:
      - { name: checkout, match: { path: { prefix: /checkout }, methods: [POST] }, forward: { upstream: api } }
      - { name: old, match: { path: { prefix: /basket } }, redirect: { status: 301, path: /cart } }
      - { name: everything, forward: { upstream: api } }
`;
}

async function withShop(run, more) {
  const origins = [await origin(), await origin()];
  const gateway = await Gateway.start(shop(origins.map((it) => it.address), more));
  try {
    await run(gateway, origins);
  } finally {
    gateway.end();
    await Promise.all(origins.map((it) => it.end()));
  }
}

async function withPage(gateway, options, run) {
  const { page, close } = await open(gateway, options);
  await run(page);
  await close();
}

/**
 * Waits until `condition` yields something while requests come one after the other: a rate shows those
 * between two readings, so that a single request may fall before the first of them.
 */
async function underTraffic(gateway, what, condition) {
  await eventually(what, async () => {
    await gateway.get("/hello");
    return condition();
  });
}

/** The row of the table of figures that is called `name`. */
const row = (page, name) => page.locator("table.rows tbody tr").filter({ has: page.getByText(name, { exact: true }) });

test("traffic of a route is seen within two seconds", () => withShop(async (gateway) => {
  await withPage(gateway, {}, async (page) => {
    await page.getByText("live", { exact: true }).waitFor();
    const figure = row(page, "shop › everything").locator("td").first();
    await within(2_000, "traffic until it is seen", async () => {
      await eventually("a quiet route", async () => (await figure.textContent()) === "0");
      const began = performance.now();
      await underTraffic(gateway, "the traffic", async () => (await figure.textContent()) !== "0");
      return performance.now() - began;
    });
    assert.notEqual(await page.locator(".tile").first().locator(".value").textContent(), "–");
    // Every figure leads to its metric.
    await figure.getByRole("link").click();
    await page.getByRole("heading", { name: "sallyport_route_requests_total" }).waitFor();
    await page.getByText('sum(rate(sallyport_route_requests_total{virtual_host="shop", route="everything"}[5m]))', { exact: true }).waitFor();
    await page.getByLabel("Samples").getByText('code_class="2xx"').waitFor();
  });
}));

test("a route of its own has its history", () => withShop(async (gateway) => {
  await withPage(gateway, { hash: "#now?virtual_host=shop&route=everything" }, async (page) => {
    await page.getByRole("heading", { name: "shop › everything" }).waitFor();
    const rate = page.locator(".tile .value").first();
    await underTraffic(gateway, "its figures", async () => !["0", "–"].includes(await rate.textContent()));
    assert.equal(await page.locator("canvas").count(), 2);
    await page.getByRole("link", { name: "Show everything" }).click();
    await page.getByRole("heading", { name: "Everything" }).waitFor();
  });
}));

test("an endpoint that is gone is marked down within a probe's interval", () => withShop(async (gateway, origins) => {
  await withPage(gateway, { hash: "#origins" }, async (page) => {
    const state = page.getByRole("row", { name: origins[0].address }).locator(".badge");
    await eventually("a healthy endpoint", async () => (await state.textContent()) === "healthy");
    await origins[0].end();
    await eventually("the endpoint to be marked", async () => (await state.textContent()) !== "healthy");
    assert.match(await page.getByRole("row", { name: origins[0].address }).textContent(), /unhealthy|ejected/);
    await page.getByText("2 endpoints, 1 left out").waitFor();
  });
}));

test("a refused edit is told with its lines and remedies", () => withShop(async (gateway, origins) => {
  await withPage(gateway, {}, async (page) => {
    await page.getByText("live", { exact: true }).waitFor();
    const good = shop(origins.map((it) => it.address));
    gateway.replace(good.replace("prefix: /basket", "prefx: /basket"));
    await page.getByRole("link", { name: "Read why" }).click();
    const alert = page.getByRole("alert");
    await alert.waitFor();
    const told = await alert.textContent();
    assert.match(told, /sallyport\.yaml:\d+: .*prefx.*/);
    const line = Number(/sallyport\.yaml:(\d+)/.exec(told)[1]);
    assert.match(good.split("\n")[line - 1], /basket/);
    gateway.replace(good.replace("/cart", "/new-cart"));
    await page.getByText("version 2").waitFor();
    await eventually("the alert to go", async () => (await alert.count()) === 0);
    await page.getByText("virtual_hosts[shop].routes[old].redirect.path").waitFor();
    await page.getByRole("button", { name: "Show it" }).click();
    await page.getByLabel("The effective file").getByText("name: checkout").waitFor();
  });
}));

test("explain answers three questions and the address keeps each", () => withShop(async (gateway) => {
  await withPage(gateway, { hash: "#explain" }, async (page) => {
    for (const [path, method, decided, why] of [
      ["/checkout/pay", "POST", "checkout", /none before it/],
      ["/basket", "GET", "old", /checkout/],
      ["/checkout/pay?x=1", "GET", "everything", /checkout.*method/s],
    ]) {
      await page.getByLabel("Host", { exact: true }).fill("shop.example.com");
      await page.getByLabel("Path, with its query").fill(path);
      await page.getByLabel("Method").fill(method);
      await page.getByLabel("Header fields, a line each").fill("x-user: ann\nx-beta: 1");
      await page.getByRole("button", { name: "Explain" }).click();
      await page.locator(".steps li").getByText(decided, { exact: true }).waitFor();
      await eventually("the reasons", async () => why.test(await page.locator("section").last().textContent()));
    }
    const link = page.url();
    assert.match(link, /header=x-user%3A\+ann&header=x-beta/);
    await page.goto(`${gateway.admin}/#now`);
    await page.goto(link);
    await page.locator(".steps").getByText("everything", { exact: true }).waitFor();
    assert.equal(await page.getByLabel("Header fields, a line each").inputValue(), "x-user: ann\nx-beta: 1");
    await page.getByLabel("Client's address").fill("nobody");
    await page.getByRole("button", { name: "Explain" }).click();
    await page.getByText('"nobody" is not IP or IP:PORT').waitFor();
  });
}));

test("a verdict is lifted, and whoever was shut out is let in", () => withShop(async (gateway) => {
  const bad = { from: "127.0.0.66" };
  await withPage(gateway, { hash: "#door" }, async (page) => {
    await page.getByText("Nobody is shut out.").waitFor();
    await eventually("a verdict", async () => (await gateway.get("/", { ...bad, host: "nobody.example" })) === 0);
    await page.getByRole("row", { name: "127.0.0.66" }).waitFor();
    assert.equal(await gateway.get("/", bad), 0);
    await page.getByRole("button", { name: "Lift the verdict on 127.0.0.66" }).click();
    await page.getByText("127.0.0.66 is let in again.").waitFor();
    await page.getByText("Nobody is shut out.").waitFor();
    assert.equal(await gateway.get("/", bad), 200);
  });
}, "verdicts:\n  rules: [ { on: 4xx, more_than: 3, within: 10s, for: 1h } ]\n"));

/** As many routes as one may have to look through. */
function many(count, more = "") {
  const routes = Array.from({ length: count }, (_, at) => `      - { name: route-${String(at).padStart(5, "0")}, match: { path: { exact: /r${at} } }, respond: { status: 200 } }`);
  return `${LISTENERS}virtual_hosts:\n  - name: shop\n    domains: ["*"]\n    routes:\n${more}${routes.join("\n")}\n`;
}

test("ten thousand routes are scrolled and searched", async () => {
  const gateway = await Gateway.start(many(10_000));
  try {
    await withPage(gateway, { hash: "#now?sort=name&order=asc" }, async (page) => {
      await page.getByText("10,001 rows").waitFor();
      const rows = page.locator("table.rows tbody tr:not(.spacer)");
      assert.ok(await rows.count() < 120, "only rows that are seen exist");
      // Measured where it happens: from the key to the row.
      const timed = (change) => page.evaluate(([kind, value, wanted]) => new Promise((resolve) => {
        const began = performance.now();
        const body = document.querySelector("table.rows tbody");
        const done = () => {
          const first = [...body.querySelectorAll("tr:not(.spacer) .name")].map((it) => it.textContent);
          if (!first.includes(wanted)) return;
          watcher.disconnect();
          resolve(performance.now() - began);
        };
        const watcher = new MutationObserver(done);
        watcher.observe(body, { childList: true, subtree: true, characterData: true });
        if (kind === "search") {
          const field = document.getElementById("search");
          field.value = value;
          field.dispatchEvent(new Event("input"));
        } else {
          document.querySelector(".scroll.tall").scrollTop = value;
        }
        done();
      }), change);
      await within(100, "a search among 10,000 routes", async (tries) => {
        const wanted = String(9_000 + tries).padStart(5, "0");
        return timed(["search", wanted, `shop › route-${wanted}`]);
      });
      await page.getByText("1 row", { exact: true }).waitFor();
      await page.getByRole("searchbox").fill("");
      await page.getByText("10,001 rows").waitFor();
      await within(100, "a jump among 10,000 routes", async (tries) => {
        const place = 4_000 + 50 * tries;
        return timed(["scroll", place * 34, `shop › route-${String(place).padStart(5, "0")}`]);
      });
      // By keyboard alone.
      await page.getByRole("region", { name: "Table of figures" }).focus();
      await page.keyboard.press("End");
      await row(page, "shop › route-09999").waitFor();
      await page.getByRole("button", { name: "Name" }).press("Enter");
      await row(page, "shop › route-00000").or(row(page, "shop › route-09999")).first().waitFor();
    });
  } finally {
    gateway.end();
  }
});

test("hostile names are text", async () => {
  const names = [
    '<script>window.hacked=1</script>',
    '"><img src=x onerror=window.hacked=1>',
    "‮evil‬ ثلاثة",
    "'; window.hacked=1; //",
    "x".repeat(1_000),
  ];
  const routes = names.map((it, at) => `      - { name: ${JSON.stringify(it)}, match: { path: { exact: /${at} } }, respond: { status: 500 } }\n`).join("");
  const gateway = await Gateway.start(many(1, routes));
  try {
    for (const [at] of names.entries()) await gateway.get(`/${at}`, { headers: { "x-evil": "<script>window.hacked=1</script>" } });
    await withPage(gateway, {}, async (page) => {
      for (const it of names) await row(page, `shop › ${it}`).waitFor();
      await row(page, `shop › ${names[0]}`).getByRole("link").first().click();
      await page.getByRole("heading", { name: names[0] }).waitFor();
      await page.locator(".tile a").first().click();
      await page.getByText(`route="${names[0]}"`).first().waitFor();
      gateway.replace(many(1, routes).replace("shop\n", "<img src=x onerror=window.hacked=1>\n") + "<b>: 1\n");
      await page.goto(`${gateway.admin}/#configuration`);
      await page.getByRole("alert").waitFor();
      await page.goto(`${gateway.admin}/#explain?host=${encodeURIComponent(names[1])}&path=%2F%3Cscript%3E&header=${encodeURIComponent(`x: ${names[0]}`)}`);
      await page.getByText("the host is malformed").waitFor();
      await page.goto(`${gateway.admin}/#explain?host=shop&path=%2F0%3F%3Cscript%3E`);
      await page.locator(".steps").getByText(names[0]).waitFor();
      await page.goto(`${gateway.admin}/#metric?name=${encodeURIComponent(names[1])}`);
      await page.getByText("That is no metric's name.").waitFor();
      assert.equal(await page.evaluate(() => window.hacked), undefined);
      assert.equal(await page.locator("main script, main img").count(), 0);
    });
    await withPage(gateway, { width: 390, height: 800 }, async (page) => {
      await row(page, `shop › ${names[4]}`).waitFor();
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    });
  } finally {
    gateway.end();
  }
});

test("a token is asked for, kept for the tab, and one for reading changes nothing", async () => {
  const yaml = many(1).replace("admin: { address: 127.0.0.1:0 }", "admin: { address: 127.0.0.1:0, token_file: all, read_token_file: some }")
    .replace("virtual_hosts:", "verdicts:\n  rules: [ { on: 4xx, more_than: 1, within: 10s, for: 1h } ]\nvirtual_hosts:");
  const gateway = await Gateway.start(yaml, { all: "everything\n", some: "reading\n" });
  try {
    await withPage(gateway, {}, async (page) => {
      await page.getByLabel("Token").fill("guess");
      await page.getByRole("button", { name: "Look" }).click();
      await page.getByText("That token is not the right one.").waitFor();
      await page.getByLabel("Token").fill("reading");
      await page.getByLabel("Token").press("Enter");
      await page.getByText("live", { exact: true }).waitFor();
      await page.reload();
      await page.getByText("live", { exact: true }).waitFor();
      await eventually("a verdict", async () => (await gateway.get("/none", { from: "127.0.0.67" })) === 0);
      await page.getByRole("link", { name: "Outer door" }).click();
      const lift = page.getByRole("button", { name: "Lift the verdict on 127.0.0.67" });
      await lift.waitFor();
      assert.ok(await lift.isDisabled());
      assert.ok(!page.url().includes("reading"), "the token is in no address");
    });
  } finally {
    gateway.end();
  }
});

const VIEWS = ["now", "now?of=upstreams&upstream=api", "origins", "configuration", "explain?host=shop.example.com&path=/cart", "door", "connections", "certificates", "metric?name=sallyport_route_request_duration_seconds&route=everything"];

for (const scheme of ["light", "dark"]) {
  test(`axe finds nothing in ${scheme}, and nothing is wider than a telephone`, () => withShop(async (gateway) => {
    for (let times = 0; times < 5; times += 1) await gateway.get("/hello");
    await eventually("a verdict", async () => (await gateway.get("/", { from: "127.0.0.68", host: "nobody.example" })) === 0);
    await withPage(gateway, { scheme }, async (page) => {
      for (const width of [1280, 390]) {
        await page.setViewportSize({ width, height: 900 });
        for (const view of VIEWS) {
          await page.goto(`${gateway.admin}/#${view}`);
          await page.locator("main h1").waitFor();
          await eventually("something to see", () => page.evaluate(() => document.querySelectorAll("main table, main pre, main canvas, main details").length > 0));
          if (await page.evaluate(() => window.axe === undefined)) await page.evaluate(AXE);
          const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
          const told = found.violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html.slice(0, 200)).slice(0, 3).join(" | ")}`);
          assert.deepEqual(told, [], `${view} at ${width}`);
          assert.ok(found.passes.length > 10, "it looked");
          assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${view} at ${width}`);
        }
      }
    });
  }, "verdicts:\n  rules: [ { on: 4xx, more_than: 3, within: 10s, for: 1h } ]\n"));
}

test("everything is reached by keyboard", () => withShop(async (gateway) => {
  await withPage(gateway, {}, async (page) => {
    await page.getByText("live", { exact: true }).waitFor();
    const focused = () => page.evaluate(() => document.activeElement.textContent.trim().slice(0, 40) || document.activeElement.getAttribute("aria-label"));
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "Skip to the figures");
    const seen = new Set();
    for (let at = 0; at < 40; at += 1) {
      await page.keyboard.press("Tab");
      seen.add(await focused());
    }
    for (const wanted of ["Origins", "Outer door", "Pause", "15 min", "Requests/s", "Virtual hosts", "Search by name", "Errors/s"]) assert.ok(seen.has(wanted), `${wanted} of ${[...seen]}`);
  });
}));
