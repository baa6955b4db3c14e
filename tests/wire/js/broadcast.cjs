// Two windows of a headless Chromium at examples/fastapi_broadcast.py: what is said in one is shown in
// both, and the last of that in a third one. Arguments: the path of Chromium, the address of the page,
// two texts. Prints what each window shows, as JSON.
'use strict';

const {chromium} = require('playwright-core');

const [executablePath, url, first, second] = process.argv.slice(2);

(async () => {
  // root cannot use the sandbox; only the example's own page is opened
  const browser = await chromium.launch({executablePath, args: ['--no-sandbox']});
  const windows = [await browser.newPage(), await browser.newPage()];
  for (const page of windows) {
    await page.goto(url);
  }
  const shown = (text) => Promise.all(windows.map((page) =>
    page.locator('li', {hasText: text}).waitFor({timeout: 20000})));
  const say = async (text) => {
    await windows[0].locator('input').fill(text);
    await windows[0].locator('input').press('Enter');
    await shown(text);
  };
  await say(first);
  await say(second);
  const late = await browser.newPage();
  windows.push(late);
  await late.goto(url);
  await shown(second);
  const seen = await Promise.all(windows.map((page) => page.locator('li').allTextContents()));
  await browser.close();
  console.log(JSON.stringify(seen));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
