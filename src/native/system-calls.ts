/**
 * Bare system calls. What they throw is about the call by its name, and has its `errno`. A `null` is a null pointer, as is an empty string
 * in mount(). Descriptors are the caller's to close.
 */
export interface SystemCalls {
  /** With a number, or with memory that the kernel reads and writes: its size must be the request's. */
  ioctl(fd: number, request: number, argument: number | Uint8Array): number;
  /** Gives an open file without a name (O_TMPFILE) one. EEXIST when something has that name. */
  linkOpenFile(fd: number, path: string): void;
  mount(call: { source: string; target: string; type: string; flags: number; data: string }): void;
  /** umount2(2). */
  unmount(target: string, flags: number): void;
  /** One name in an open folder. openat2(2) with RESOLVE_NO_SYMLINKS: ELOOP for a symbolic link. */
  openEntry(folder: number, name: string, flags: number): number;
  makeFolder(folder: number, name: string, mode: number): void;
  removeFolder(folder: number, name: string): void;
  /** Within the folder. EEXIST when there is something of the new name, where the file system can tell. */
  renameEntry(folder: number, from: string, to: string): void;
  /** A descriptor of another process's open file (Linux 5.6). */
  takeDescriptor(pid: number, fd: number): number;
  /** To a Unix socket; a path that begins with "@" is an abstract name. */
  sendDatagram(path: string, text: string): void;
  /** The mount API of Linux 5.2; errors also say what the kernel said on the file system's descriptor. */
  fsopen(type: string): number;
  fsconfig(fd: number, command: number, key: string | null, value: string | null): void;
  fsmount(fd: number, attributes: number): number;
  moveMount(fd: number, target: string): void;
}
