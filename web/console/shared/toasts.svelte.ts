const SHOWN_MILLISECONDS = 5_000;

export interface ToastAction {
  label: string;
  run(): void;
}

export interface Toast {
  id: number;
  text: string;
  failed: boolean;
  action: ToastAction | null;
}

interface ToastOptions {
  failed?: boolean;
  action?: ToastAction;
  milliseconds?: number;
}

/** Short notices at the edge of the page. Screen readers say them when they come. */
class Toasts {
  list = $state<Toast[]>([]);
  private next = 1;

  show(text: string, options: ToastOptions = {}): void {
    const id = this.next++;
    const { failed = false, action = null, milliseconds = SHOWN_MILLISECONDS } = options;
    this.list.push({ id, text, failed, action });
    setTimeout(() => this.close(id), milliseconds);
  }

  close(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
