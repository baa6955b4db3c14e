// A headless Chromium, for which each line of standard input is one visit of a page: JSON with url,
// library, and the plan of visit.js. Answers each with a line of JSON: what the page saw, or why it
// failed. Arguments: the path of Chromium, the hash of the public key whose certificates it trusts,
// and its rules for host names.
'use strict';

const readline = require('node:readline');
const {chromium} = require('playwright-core');

const [executablePath, trusted, hosts] = process.argv.slice(2);
const VISIT = 20000; // ms for one visit

async function visitFrom(page, {url, library, plan}) {
  await page.goto(url);
  return page.evaluate(([name, given]) => visitWith(name, given), [library, plan]);
}

async function inTime(promise) {
  let alarm;
  const late = new Promise((_, reject) => {
    alarm = setTimeout(() => reject(new Error(`took more than ${VISIT} ms`)), VISIT);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(alarm);
  }
}

(async () => {
  const browser = await chromium.launch({
    executablePath,
    args: [
      '--no-sandbox', // root cannot use the sandbox; only the test's own pages are opened
      '--disable-quic', '--disable-background-networking', '--disable-component-update',
      `--ignore-certificate-errors-spki-list=${trusted}`, `--host-resolver-rules=${hosts}`,
    ],
  });
  for await (const line of readline.createInterface({input: process.stdin})) {
    const page = await browser.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => errors.push(message.text()));
    try {
      console.log(JSON.stringify(await inTime(visitFrom(page, JSON.parse(line)))));
    } catch (error) {
      console.log(JSON.stringify({failed: String(error), errors}));
    }
    await page.close();
  }
  await browser.close();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
