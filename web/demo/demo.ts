import "../shared/tokens.css";
import "./demo.css";
import { applyTheme } from "../shared/theme.ts";

const TEXTS = {
  en: {
    title: "Arunika answers",
    greeting: "Good day! On this sample page the guide of Wicara answers: ask about Wicara.",
    suggestions: "What is Wicara?|How do I connect my bot?|How does a person take over?",
    copied: "Copied.",
    notCopied: "Select the line and copy it.",
  },
  id: {
    title: "Arunika menjawab",
    greeting: "Selamat datang! Di halaman contoh ini panduan Wicara yang menjawab: tanyakan tentang Wicara.",
    suggestions:
      "Apa itu Wicara?|Bagaimana menghubungkan bot saya?|Bagaimana petugas mengambil alih percakapan?",
    copied: "Tersalin.",
    notCopied: "Pilih baris itu lalu salin.",
  },
};

const wished = new URLSearchParams(location.search).get("lang") ?? navigator.language;
const language = wished.startsWith("id") ? "id" : "en";
const texts = TEXTS[language];
document.documentElement.lang = language;
applyTheme(document.documentElement, "system");

/** What the operators have set for the widget goes before the words of this page. */
async function settingsOfServer(): Promise<Record<string, string | string[]>> {
  const response = await fetch("/api/widget").catch(() => undefined);
  return response?.ok ? (await response.json()).data : {};
}

const settings = await settingsOfServer();
const chat = document.createElement("wicara-chat") as HTMLElement & { open?(): void };
chat.dataset.language = language;
for (const name of ["title", "greeting", "suggestions"] as const) {
  if (!settings[name]?.length) chat.dataset[name] = texts[name];
}
document.body.append(chat);
const script = document.createElement("script");
script.src = "/widget.js";
script.async = true;
document.head.append(script);

const line = `<script src="${location.origin}/widget.js" async></${"script"}>`;
const code = document.querySelector("#line")!;
code.textContent = line;

document.querySelector("#ask")!.addEventListener("click", () => chat.open?.());
document.querySelector("#copy")!.addEventListener("click", async () => {
  const status = document.querySelector("#copied")!;
  try {
    // Pages without https have no clipboard.
    await navigator.clipboard.writeText(line);
    status.textContent = texts.copied;
  } catch {
    getSelection()!.selectAllChildren(code);
    status.textContent = texts.notCopied;
  }
});
