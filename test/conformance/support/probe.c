// What a container may do, tried from inside: prints a line for each thing, with errno (0: it may).
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, long result) { printf("%s %d\n", what, result < 0 ? errno : 0); }

#ifdef __x86_64__
// A system call of 32-bit x86, which a filter for 64-bit calls does not see.
static long call32(long number, long a, long b) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b) : "memory");
  if (result >= 0) return result;
  errno = (int)-result;
  return -1;
}

static void calls32(void) {
  unsigned *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  low[0] = AF_VSOCK;
  low[1] = SOCK_STREAM;
  low[2] = 0;
  say("socket32-vsock", call32(359, AF_VSOCK, SOCK_STREAM));
  say("socketcall-vsock", call32(102, 1, (long)low));
}
#else
static void calls32(void) {}
#endif

static void calls(void) {
  say("socket-vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
  say("socket-alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
  say("socket-unix", socket(AF_UNIX, SOCK_STREAM, 0));
  say("socket-inet", socket(AF_INET, SOCK_STREAM, 0));
  say("keyctl", syscall(SYS_keyctl, 0, -3, 0));
  say("io_uring", syscall(SYS_io_uring_setup, 1, 0));
  say("bpf", syscall(SYS_bpf, 0, 0, 0));
  say("unshare-user", syscall(SYS_unshare, 0x10000000));
  calls32();
}

// Writes to as many MiB; killed when they are too many.
static int use_memory(long count) {
  for (long i = 0; i < count; i++) {
    char *piece = malloc(1 << 20);
    if (piece == NULL) return 1;
    memset(piece, 1, 1 << 20);
  }
  puts("had it");
  return 0;
}

// Starts as many processes that wait for the end of this one.
static int use_processes(long count) {
  int ends[2];
  if (pipe(ends) != 0) return 1;
  for (long i = 0; i < count; i++) {
    pid_t pid = fork();
    if (pid < 0) {
      printf("%ld, then %s\n", i, strerror(errno));
      return 0;
    }
    if (pid == 0) {
      char byte;
      close(ends[1]);
      _exit((int)read(ends[0], &byte, 1));
    }
  }
  puts("had it");
  return 0;
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc == 2 && strcmp(argv[1], "calls") == 0) calls();
  if (argc == 2 && strcmp(argv[1], "wait") == 0) {
    puts("ready");
    char byte;
    while (read(0, &byte, 1) > 0) continue;
    for (;;) pause();
  }
  if (argc == 3 && strcmp(argv[1], "memory") == 0) return use_memory(atol(argv[2]));
  if (argc == 3 && strcmp(argv[1], "processes") == 0) return use_processes(atol(argv[2]));
  return 0;
}
