import { Argument, type Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { describeProgram, type CommandDescription } from '../describe-program';

const shells = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof shells)[number];

const writers: Record<Shell, () => Promise<(program: CommandDescription) => string>> = {
  bash: async () => (await import('../completion/bash.js')).bashCompletion,
  zsh: async () => (await import('../completion/zsh.js')).zshCompletion,
  fish: async () => (await import('../completion/fish.js')).fishCompletion,
};

export function completionCommand(session: Session): Command {
  const command = defineCommand('completion', 'Print what completes commands and flags in a shell', [
    'completion bash >/etc/bash_completion.d/seekable-erofs',
    'completion zsh >/usr/local/share/zsh/site-functions/_seekable-erofs',
    'completion fish >~/.config/fish/completions/seekable-erofs.fish',
  ]);
  command.addArgument(new Argument('<SHELL>').choices(shells));
  return finishCommand(command, session, async (_, [shell]) => {
    const write = await writers[shell as Shell]();
    const script = write(describeProgram(await session.wholeProgram()));
    return { document: { shell, script }, text: script.trimEnd().split('\n') };
  });
}
