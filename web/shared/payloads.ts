/* Texts that try to run something when a page shows them: for tests of all that shows text of others. */

const CODE = "window.hacked=1";

const ADDRESSES = [
  `javascript:${CODE}`,
  `JaVaScRiPt:${CODE}`,
  `java\tscript:${CODE}`,
  `java\nscript:${CODE}`,
  `\u0001javascript:${CODE}`,
  ` javascript:${CODE}`,
  `javascript&colon;${CODE}`,
  `&#106;avascript:${CODE}`,
  `&#x6A;avascript:${CODE}`,
  `javascript\\:${CODE}`,
  `vbscript:${CODE}`,
  `data:text/html,<script>${CODE}</script>`,
  `data:image/svg+xml,<svg onload=${CODE}>`,
  `blob:https://x.test/${CODE}`,
  `file:///etc/passwd`,
  `//x.test/%0a${CODE}`,
  `feed:javascript:${CODE}`,
  `https://x.test/" onmouseover="${CODE}`,
  `https://x.test/' onfocus='${CODE}' autofocus='`,
  `https://x.test/><img src=x onerror=${CODE}>`,
];

const HTML = [
  `<script>${CODE}</script>`,
  `<scr<script>ipt>${CODE}</script>`,
  `<img src=x onerror=${CODE}>`,
  `<svg onload=${CODE}>`,
  `<svg><animate onbegin=${CODE} attributeName=x dur=1s>`,
  `<iframe srcdoc="<script>parent.${CODE}</script>"></iframe>`,
  `<iframe src="javascript:parent.${CODE}">`,
  `<body onload=${CODE}>`,
  `<details open ontoggle=${CODE}>`,
  `<input autofocus onfocus=${CODE}>`,
  `<video><source onerror=${CODE}>`,
  `<math><mtext></form><form><mglyph><style></math><img src onerror=${CODE}>`,
  `<style>@import "https://x.test/";</style>`,
  `<link rel=stylesheet href=https://x.test/>`,
  `<meta http-equiv=refresh content="0;url=javascript:${CODE}">`,
  `<base href=https://x.test/>`,
  `<object data="javascript:${CODE}">`,
  `<noscript><p title="</noscript><img src=x onerror=${CODE}>">`,
  `"><img src=x onerror=${CODE}>`,
  `{{constructor.constructor("${CODE}")()}}`,
];

const LINKS: ((address: string) => string)[] = [
  (address) => `[click](${address})`,
  (address) => `[click](<${address}>)`,
  (address) => `[click](${address} "title")`,
  (address) => `![image](${address})`,
  (address) => `[![image](${address})](${address})`,
  (address) => `<${address}>`,
  (address) => `see ${address} here`,
  (address) => `[click][1]\n\n[1]: ${address}`,
];

const PLACES: ((html: string) => string)[] = [
  (html) => html,
  (html) => `**${html}**`,
  (html) => `[${html}](https://x.test/)`,
  (html) => `\`\`\`${html}\n${html}\n\`\`\``,
  (html) => `| ${html} |\n|---|\n| ${html} |`,
  (html) => `- ${html}\n  > ${html}`,
  (html) => `# ${html}`,
  (html) => `![${html}](https://x.test/${html})`,
];

export const PAYLOADS: string[] = [
  ...ADDRESSES.flatMap((address) => LINKS.map((link) => link(address))),
  ...HTML.flatMap((html) => PLACES.map((place) => place(html))),
];
