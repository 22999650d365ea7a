import type { Account, Bot, Conversation, Counts, Message, Pagination } from "../../shared/api";
import { type Answer, request } from "./http";

interface Data<T> {
  data: T;
}

interface Page<T> extends Data<T[]> {
  pagination: Pagination;
}

const data = async <T>(answer: Promise<Answer<Data<T>>>): Promise<T> => (await answer).body.data;

export const login = (email: string, password: string) =>
  data<Account>(request("POST", "/api/auth/login", { body: { email, password } }));

export const logout = () => request("POST", "/api/auth/logout");

export const me = () => data<Account>(request("GET", "/api/auth/me"));

export const botList = () => data<Bot[]>(request("GET", "/api/bot"));

export const conversationList = (query: Record<string, string | undefined>, signal?: AbortSignal) =>
  request<Page<Conversation>>("GET", "/api/conversation", { query, signal });

export const conversationCounts = () => data<Counts>(request("GET", "/api/conversation/counts"));

export const conversationDetail = (id: string, signal?: AbortSignal) =>
  request<Data<Conversation>>("GET", `/api/conversation/${id}`, { signal });

export const conversationClaim = (id: string, force: boolean) =>
  data<Conversation>(request("POST", `/api/conversation/${id}/claim`, { body: force ? { force } : {} }));

export const conversationRelease = (id: string, to: "bot" | "queue") =>
  data<Conversation>(request("POST", `/api/conversation/${id}/release`, { body: { to } }));

export const conversationRename = (id: string, room: string) =>
  request("PATCH", `/api/conversation/${id}`, { body: { room } });

export const conversationDelete = (id: string, undoSeconds: number) =>
  request("DELETE", `/api/conversation/${id}`, { query: { undo: String(undoSeconds) } });

export const conversationRestore = (id: string) => request("POST", `/api/conversation/${id}/restore`);

export const conversationSeen = (id: string, upTo: string) =>
  request("POST", `/api/conversation/${id}/seen`, { body: { upTo } });

export const conversationTyping = (id: string) => request("POST", `/api/conversation/${id}/typing`);

export const answerStop = (id: string) => request("DELETE", `/api/conversation/${id}/answer`);

export const messageList = (query: Record<string, string | undefined>, signal?: AbortSignal) =>
  request<Page<Message>>("GET", "/api/message", { query, signal });

/** `body` is the JSON text: a retry has to send the same bytes with its key. */
export const messageCreate = (body: string, idempotencyKey: string) =>
  request<Data<Message>>("POST", "/api/message", { body, idempotencyKey });

export const messageEdit = (id: string, message: string) =>
  data<Message>(request("PATCH", `/api/message/${id}`, { body: { message } }));

export const messageDelete = (id: string, undoSeconds: number) =>
  request("DELETE", `/api/message/${id}`, { query: { undo: String(undoSeconds) } });

export const messageRestore = (id: string) => request("POST", `/api/message/${id}/restore`);

export const messageAsk = (id: string) => request("POST", `/api/message/${id}/ask`);
