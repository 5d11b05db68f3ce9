{
  'variables': { 'openssl_fips%': '' },
  'target_defaults': {
    'cflags': ['-fvisibility=hidden', '-ffunction-sections', '-fdata-sections'],
    'default_configuration': 'Release',
  },
  'targets': [
    {
      # Hidden, so that Node's own copy of zstd (22 and later export it) never answers our calls.
      'target_name': 'zstd',
      'type': 'static_library',
      'sources': ['<!@(node scripts/zstd-sources.mjs)'],
      'include_dirs': ['<!(node scripts/zstd-sources.mjs --include)'],
      'defines': [
        'ZSTDLIB_VISIBLE=', 'ZSTDERRORLIB_VISIBLE=', 'ZDICTLIB_VISIBLE=',
        'XXH_NAMESPACE=ZSTD_', 'ZSTD_LEGACY_SUPPORT=0', 'ZSTD_TRACE=0',
      ],
      'cflags': ['-w', '-O3', '-fPIC'],
      'direct_dependent_settings': {
        'include_dirs': ['<!(node scripts/zstd-sources.mjs --include)'],
        'defines': ['ZSTDLIB_VISIBLE=', 'ZSTDERRORLIB_VISIBLE='],
      },
    },
    {
      'target_name': 'seekable_erofs',
      'dependencies': ['zstd'],
      'sources': ['<!@(cat native/sources.txt)'],
      'include_dirs': ['native', '<!(node -p "require(\'node-addon-api\').include_dir")'],
      # An environment that is being torn down takes no exception any more: without the last one, that ends the process.
      'defines': ['NAPI_VERSION=9', 'NAPI_CPP_EXCEPTIONS', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
      'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': [
        '-std=c++20', '-O3', '-fexceptions', '-Wall', '-Wextra',
        '-Wno-unknown-warning-option', '-Wno-restrict',  # gcc 12 sees overlaps in std::string; clang does not know the name
      ],
      'ldflags': [
        '-Wl,-Bsymbolic', '-Wl,--gc-sections', '-Wl,-z,relro,-z,now',
        # libgcc stays shared: Node needs it anyway, and a static one of Debian 12 asks for glibc 2.35.
        '-static-libstdc++',
        '-Wl,--version-script=<(module_root_dir)/native/binding/exports.map',
      ],
    },
  ],
}
