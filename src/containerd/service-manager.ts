import { native } from '../native/binding';

/** Tells the service manager that started this process how far it is: sd_notify(3). Does nothing without one. */
export function tellServiceManager(state: 'READY=1' | 'STOPPING=1'): void {
  const socket = process.env['NOTIFY_SOCKET'];
  if (socket === undefined || socket === '') return;
  try {
    native.sys.sendDatagram(socket, state);
  } catch {
    // Nobody listens: there is nobody to be told.
  }
}
