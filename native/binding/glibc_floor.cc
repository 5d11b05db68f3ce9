// Keeps the released binary loadable on glibc 2.28, which is what Node's own builds ask for, though it is
// linked on a newer one. glibc 2.34 moved the thread functions into libc under a new version; the old version
// is still there, and is asked for here. binding.gyp has the linker send every call through these (--wrap),
// libstdc++'s own included.
#include <pthread.h>

#ifdef __aarch64__
#define OLDEST "GLIBC_2.17"
#else
#define OLDEST "GLIBC_2.2.5"
#endif
#define FIRST_VERSION_OF(name) __asm__(".symver first_" #name "," #name "@" OLDEST)

extern "C" {

int first_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int first_pthread_join(pthread_t, void**);
int first_pthread_once(pthread_once_t*, void (*)());
int first_pthread_key_create(pthread_key_t*, void (*)(void*));
FIRST_VERSION_OF(pthread_create);
FIRST_VERSION_OF(pthread_join);
FIRST_VERSION_OF(pthread_once);
FIRST_VERSION_OF(pthread_key_create);

int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                          void* argument) {
  return first_pthread_create(thread, attributes, run, argument);
}
int __wrap_pthread_join(pthread_t thread, void** result) { return first_pthread_join(thread, result); }
int __wrap_pthread_once(pthread_once_t* once, void (*run)()) { return first_pthread_once(once, run); }
// libstdc++ looks at its address alone, to learn whether there are threads.
int __wrap___pthread_key_create(pthread_key_t* key, void (*destroy)(void*)) {
  return first_pthread_key_create(key, destroy);
}

// New in glibc 2.32: lets shared_ptr count without atomics while there is one thread. There never is, in
// Node.
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;

}  // extern "C"
