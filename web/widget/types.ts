/* What the visitor's part of the API puts on the wire, as far as the widget reads it. */

export interface Message {
  id: number;
  role: string;
  text: string;
  payload?: Answer | null;
  replyTo: number | null;
  failure?: { reason: string } | null;
  /** Left out by servers that take no feedback. */
  feedback?: Feedback | null;
  author?: { name: string } | null;
  createdAt: string;
}

export interface Feedback {
  value: number;
  text?: string | null;
}

/** What a bot sent, so that nothing of it is sure but its text. */
export interface Answer {
  text: string;
  properties?: { state?: string };
  suggest_links?: ({ title?: unknown; url?: unknown } | null)[];
}

export interface ConversationState {
  handler: string;
  handover: boolean;
  assignee?: { name: string } | null;
}

export interface ThreadDetail extends ConversationState {
  messages: Message[];
}

export interface VisitorEvent {
  kind: string;
  message?: Message;
  conversation?: ConversationState | null;
  replyTo?: number;
  text?: string;
  offset?: number;
  by?: string;
}

/** The answer to a question: the event `message`, or the body where nothing is streamed. */
export interface QuestionAnswered {
  session_id: string;
  question_id: number;
  message_ids: number[];
  data: Answer[];
  handler?: string;
  stopped?: boolean;
}

/** Of a bot's `[bot.widget]` table. An empty text is none. */
export interface WidgetSettings {
  title?: string;
  greeting?: string;
  suggestions?: string[];
  languages?: string[];
  color?: string;
}
