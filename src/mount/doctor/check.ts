/** One thing that a machine has or lacks. */
export interface DoctorCheck {
  name: string;
  status: 'ok' | 'missing' | 'unknown';
  /** What was found. */
  detail: string;
  /** How to get it; empty when nothing needs to be done. */
  hint: string;
}

/** It is there. */
export const ok = (name: string, detail: string): DoctorCheck => ({ name, status: 'ok', detail, hint: '' });

/** It is not there; `hint`: how to get it. */
export const missing = (name: string, detail: string, hint: string): DoctorCheck => ({
  name,
  status: 'missing',
  detail,
  hint,
});

/** Nobody can tell. */
export const unknown = (name: string, detail: string, hint: string): DoctorCheck => ({
  name,
  status: 'unknown',
  detail,
  hint,
});
