/* What is known of one conversation. Events and answers come from several sides, in any order and more than once. */

import type { ConversationState, Message, QuestionAnswered, ThreadDetail, VisitorEvent } from "./types.ts";

/** How long a question without an answer counts as being answered; the server marks it as failed within that time. */
const ANSWER_MILLIS = 150_000;
/** Clocks of visitors go wrong by some minutes. */
const RECENT_MILLIS = 600_000;
/** The server forgets that somebody types after 6 seconds. */
const TYPING_MILLIS = 6_000;
/** The page size of the server. */
const PAGE = 50;

export class Thread {
  readonly messages = new Map<number, Message>();
  /** Text of answers that are being given, by their question. */
  readonly drafts = new Map<number, string>();
  state: ConversationState = { handler: "bot", handover: false };
  hasOlder = false;
  loaded = false;
  takesFeedback = false;
  typingUntil = 0;
  private readonly firstSeen = new Map<number, number>();

  constructor(private readonly now: () => number = Date.now) {}

  /** The whole state, or with `isOlder` a page of what came before. */
  load(detail: ThreadDetail, isOlder = false): void {
    const oldest = detail.messages[0]?.id ?? 0;
    if (!isOlder) {
      // What was deleted meanwhile is in the loaded range and not in the answer.
      const found = new Set(detail.messages.map(({ id }) => id));
      for (const id of this.messages.keys()) if (id >= oldest && !found.has(id)) this.messages.delete(id);
      const { handler, handover } = detail;
      this.state = { handler, handover, assignee: this.state.assignee };
    }
    const extends_ = isOlder || ![...this.messages.keys()].some((id) => id < oldest);
    if (extends_) this.hasOlder = detail.messages.length >= PAGE;
    detail.messages.forEach((message) => this.put(message));
    this.loaded = true;
  }

  apply(event: VisitorEvent): void {
    const { kind, message, replyTo = 0, conversation } = event;
    if (kind === "message.created" || kind === "message.updated") this.put(message!);
    else if (kind === "message.deleted") this.messages.delete(message!.id);
    else if (kind === "answer.started") this.place(replyTo, 0, "");
    else if (kind === "answer.delta") this.place(replyTo, event.offset!, event.text!);
    else if (kind === "answer.finished" && !this.drafts.get(replyTo)) this.drafts.delete(replyTo);
    else if (kind === "typing" && event.by === "agent") this.typingUntil = this.now() + TYPING_MILLIS;
    if (conversation && kind !== "conversation.deleted") {
      this.state = { ...this.state, ...conversation };
      if (conversation.handler === "human") this.drafts.clear();
    }
  }

  put(message: Message): void {
    const { id, replyTo, failure } = message;
    if ("feedback" in message) this.takesFeedback = true;
    const known = this.messages.get(id);
    this.messages.set(id, { ...known, ...message });
    if (!this.firstSeen.has(id)) this.firstSeen.set(id, this.now());
    if (replyTo) this.drafts.delete(replyTo);
    if (failure) this.drafts.delete(id);
    if (message.role === "agent") this.typingUntil = 0;
  }

  /** A piece of an answer. The live stream and the asker's own stream bring the same pieces. */
  place(question: number, offset: number, text: string): void {
    if (this.answersOf(question).length) return;
    const draft = this.drafts.get(question) ?? "";
    if (offset <= draft.length && (offset + text.length > draft.length || !draft)) {
      this.drafts.set(question, draft.slice(0, offset) + text);
    }
  }

  /** What the asker's own stream ended with. */
  answered({ question_id, message_ids, data, handler, stopped }: QuestionAnswered): void {
    const createdAt = new Date(this.now()).toISOString();
    data.forEach((payload, index) => {
      const id = message_ids[index]!;
      // The live stream's object is the fuller one.
      if (!this.messages.has(id)) {
        this.put({ id, role: "bot", text: payload.text, payload, replyTo: question_id, createdAt });
      }
    });
    this.drafts.delete(question_id);
    if (stopped && !data.length) this.fail(question_id, "stopped");
    if (handler) this.state = { ...this.state, handler };
  }

  fail(question: number, reason: string): void {
    this.drafts.delete(question);
    const asked = this.messages.get(question);
    if (asked && !asked.failure) this.put({ ...asked, failure: { reason } });
  }

  list(): Message[] {
    return [...this.messages.values()].sort((one, other) => one.id - other.id);
  }

  /** Who answers, where visitors are told names: a thread that was read anew has them on its messages alone. */
  get personName(): string | undefined {
    const { assignee } = this.state;
    return assignee ? assignee.name : this.list().findLast(({ role }) => role === "agent")?.author?.name;
  }

  get newest(): number {
    return Math.max(0, ...this.messages.keys());
  }

  private answersOf(question: number): Message[] {
    return [...this.messages.values()].filter(({ replyTo }) => replyTo === question);
  }

  /** The question that the bot is answering, as far as can be told. */
  get answering(): number | undefined {
    if (this.drafts.size) return Math.max(...this.drafts.keys());
    const last = this.messages.get(this.newest);
    if (this.state.handler !== "bot" || last?.role !== "client" || last.failure) return;
    const isFresh = this.now() - this.firstSeen.get(last.id)! < ANSWER_MILLIS;
    return isFresh && this.now() - Date.parse(last.createdAt) < RECENT_MILLIS ? last.id : undefined;
  }

  get isTyping(): boolean {
    return this.now() < this.typingUntil;
  }
}
