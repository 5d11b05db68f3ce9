/** Imported first by what is a process: without a listener, Node opens its debugger on SIGUSR1. Commands that have begun answer it. */
process.on('SIGUSR1', () => undefined);
