// A headless Chromium, for which each line of standard input is one visit of a page: JSON with url,
// library, and the plan of visit.js. Answers each with a line of JSON: what the page saw, or why it failed.
// Arguments: its path, the hash of the public key whose certificates it trusts, and its rules for
// host names.
'use strict';

const readline = require('node:readline');
const {chromium} = require('playwright-core');

const [executablePath, trusted, hosts] = process.argv.slice(2);
const VISIT = 20000; // ms for one visit

function tooLate() {
  console.error(`a visit took more than ${VISIT} ms`);
  process.exit(1);
}

(async () => {
  const browser = await chromium.launch({
    executablePath,
    args: [
      '--no-sandbox', // which root cannot use; only the test's own pages are opened
      '--disable-quic', '--disable-background-networking', '--disable-component-update',
      `--ignore-certificate-errors-spki-list=${trusted}`, `--host-resolver-rules=${hosts}`,
    ],
  });
  for await (const line of readline.createInterface({input: process.stdin})) {
    const {url, library, plan} = JSON.parse(line);
    const alarm = setTimeout(tooLate, VISIT);
    const page = await browser.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => errors.push(message.text()));
    try {
      await page.goto(url);
      const seen = await page.evaluate(([name, given]) => visitWith(name, given), [library, plan]);
      console.log(JSON.stringify(seen));
    } catch (error) {
      console.log(JSON.stringify({failed: String(error), errors}));
    }
    await page.close();
    clearTimeout(alarm);
  }
  await browser.close();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
