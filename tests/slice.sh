#!/bin/sh
# slice.sh PROGRAM ARGUMENTS...: runs slice k of n of a GoogleTest program's tests, as ANYGPU_SLICE=k/n says; all of them where it is not set.
set -eu
if [ -n "${ANYGPU_SLICE:-}" ]; then
  export GTEST_SHARD_INDEX=$((${ANYGPU_SLICE%/*} - 1)) GTEST_TOTAL_SHARDS="${ANYGPU_SLICE#*/}"
  echo "slice $ANYGPU_SLICE of these tests; ANYGPU_SLICE=$ANYGPU_SLICE repeats it"
fi
exec "$@"
