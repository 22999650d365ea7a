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

const chat = document.createElement("wicara-chat") as HTMLElement & { open?(): void };
Object.assign(chat.dataset, {
  title: texts.title,
  greeting: texts.greeting,
  suggestions: texts.suggestions,
  language,
});
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
