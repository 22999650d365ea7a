// What the API puts on the wire, as far as the pages read it. Ids are strings of up to 19 digits: too long for numbers.

export interface Author {
  id: string;
  kind: string;
  name: string;
}

export interface Account {
  id: string;
  email: string;
  name: string;
  role: string;
  /** The bots whose conversations the person sees; null: all. */
  bots: string[] | null;
}

export interface LastMessage {
  id: string;
  message: string;
  type: string;
  role: string;
  createdAt: string;
}

export interface Conversation {
  id: string;
  room: string;
  integrationType: string;
  botId: string;
  userId: string | null;
  handler: string;
  assignee: Author | null;
  handedOverAt: string | null;
  handoverReason: string | null;
  /** The caller's; only in answers to requests, never in events. */
  unreadCount?: number;
  seenByVisitorUpTo: string | null;
  messageCount: number;
  lastMessage: LastMessage | null;
  createdAt: string;
  updatedAt: string;
  /** Of a hit: plain text, and where in it the words stand, in UTF-16 units. */
  excerpt?: string;
  highlights?: [number, number][];
}

export interface SuggestLink {
  title: string;
  url: string;
}

export interface AnswerPayload {
  properties?: { allow_markdown?: boolean; state?: string };
  suggest_links?: SuggestLink[];
}

export interface Message {
  id: string;
  conversationId: string;
  message: string;
  type: string;
  role: string;
  replyTo: string | null;
  payload: AnswerPayload | null;
  failure: { reason: string; at: string } | null;
  feedback?: { value: number; text: string | null; at: string } | null;
  author: Author | null;
  createdAt: string;
  updatedAt: string;
}

export interface Pagination {
  page: number;
  pageSize: number;
  totalPages: number;
  totalItems: number;
  totalIsExact?: boolean;
  nextCursor?: string | null;
  indexedFrom?: string;
}

export interface Counts {
  queue: number;
  mine: number;
  unread: number;
  failed: number;
  unanswered: number;
}

export interface Bot {
  id: string;
  kind: string;
  default: boolean;
  public: boolean;
}

export interface BrokenRule {
  rule: string;
  field: string;
  message: string;
}

interface Stored {
  at: string;
  cursor: string;
}

export type StoredEvent = Stored &
  (
    | { kind: "conversation.created" | "conversation.updated"; conversation: Conversation; reload?: boolean }
    | { kind: "conversation.deleted"; conversation: { id: string } }
    | {
        kind: "message.created" | "message.updated";
        message: Message;
        conversation?: Conversation;
        reload?: boolean;
      }
    | {
        kind: "message.deleted";
        message: { id: string; conversationId: string };
        conversation?: Conversation;
      }
    | { kind: "conversation.seen"; conversationId: string; upTo: string }
  );

export type LiveEvent = { at: string; conversationId: string } & (
  | { kind: "answer.started" | "answer.finished"; replyTo: string }
  | { kind: "answer.delta"; replyTo: string; text: string; offset: number }
  | { kind: "typing"; by: "visitor" | "agent" }
);
