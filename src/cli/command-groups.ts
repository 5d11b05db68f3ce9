import type { Command } from 'commander';
import type { Session } from './command';

/** Defines a command. Loaded when needed: a run needs one of them, and each takes its milliseconds. */
type LoadCommand = () => Promise<(session: Session) => Command>;

/** All commands in the order of the help, under headings of what belongs together. */
export const commandGroups: Readonly<Record<string, Readonly<Record<string, LoadCommand>>>> = {
  'Convert:': {
    convert: async () => (await import('./commands/convert.js')).convertCommand,
    batch: async () => (await import('./commands/batch.js')).batchCommand,
    build: async () => (await import('./commands/build.js')).buildCommand,
    encode: async () => (await import('./commands/encode.js')).encodeCommand,
    decode: async () => (await import('./commands/decode.js')).decodeCommand,
  },
  'Look, and check:': {
    inspect: async () => (await import('./commands/inspect.js')).inspectCommand,
    verify: async () => (await import('./commands/verify.js')).verifyCommand,
    check: async () => (await import('./commands/check.js')).checkCommand,
  },
  'Read files, without mounting:': {
    ls: async () => (await import('./commands/ls.js')).lsCommand,
    cat: async () => (await import('./commands/cat.js')).catCommand,
    extract: async () => (await import('./commands/extract.js')).extractCommand,
  },
  'Mount and run, as root:': {
    mount: async () => (await import('./commands/mount.js')).mountCommand,
    umount: async () => (await import('./commands/umount.js')).umountCommand,
    mounts: async () => (await import('./commands/mounts.js')).mountsCommand,
    run: async () => (await import('./commands/run.js')).runCommand,
  },
  'Fetch what is read:': {
    serve: async () => (await import('./commands/serve.js')).serveCommand,
    lazy: async () => (await import('./commands/lazy.js')).lazyCommand,
    trace: async () => (await import('./commands/trace.js')).traceCommand,
  },
  'Many machines:': {
    worker: async () => (await import('./commands/worker.js')).workerCommand,
    queue: async () => (await import('./commands/queue.js')).queueCommand,
    hooks: async () => (await import('./commands/hooks.js')).hooksCommand,
  },
  'This machine:': {
    doctor: async () => (await import('./commands/doctor.js')).doctorCommand,
    completion: async () => (await import('./commands/completion.js')).completionCommand,
  },
};
