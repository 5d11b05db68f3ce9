import { Option } from 'commander';

/** Where the queue is, of every command that has to do with one. */
export function queueFlag(): Option {
  return new Option('--queue <url>', 'the queue, in Redis or Valkey: redis://HOST:PORT (docs/service.md)');
}
