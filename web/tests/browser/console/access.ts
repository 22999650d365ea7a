import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { expect } from "vitest";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Waits until axe finds nothing that keeps somebody out: a colour may be on its way to another. */
export async function isOpenToAll(page: Page): Promise<void> {
  await page.evaluate(AXE);
  const faults = async () => {
    const { violations } = await page.evaluate(() => (window as any).axe.run());
    return violations
      .filter(({ impact }: any) => impact === "serious" || impact === "critical")
      .map(
        ({ id, nodes }: any) =>
          `${id}: ${nodes.map((node: any) => `${node.html} ${node.failureSummary}`).join("; ")}`,
      );
  };
  await expect.poll(faults).toEqual([]);
}
