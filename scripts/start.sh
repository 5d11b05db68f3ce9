#!/usr/bin/env bash
# npm start [-- SOURCE [DESTINATION]]: sets up what is missing, builds, then runs scripts/start.mjs.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

check_node
need_programs g++=g++ make=make python3=python3
need_npm_packages
build
exec node scripts/start.mjs "$@"
