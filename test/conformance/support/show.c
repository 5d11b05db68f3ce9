// Prints the files that it is told of; of a path with a + before it, after adding a line to the file.
#include <stdio.h>

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *path = argv[i] + (argv[i][0] == '+');
    if (path != argv[i]) {
      FILE *file = fopen(path, "a");
      if (file == NULL || fputs("and more\n", file) < 0 || fclose(file) != 0) return 1;
    }
    FILE *file = fopen(path, "r");
    if (file == NULL) return 2;
    for (int c; (c = getc(file)) != EOF;) putchar(c);
    if (ferror(file) || fclose(file) != 0) return 3;
  }
  return fflush(stdout) != 0;
}
