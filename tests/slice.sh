#!/bin/sh
# slice.sh N PROGRAM ARGUMENTS...: an Nth part of a GoogleTest program's tests, the next one with each next number in ANYGPU_SLICE; all of them
# where that is not set. ./run test sets it to the day, so that what repeats the conformance suite goes round in N days.
set -eu
n=$1
shift
if [ -n "${ANYGPU_SLICE:-}" ]; then
  export GTEST_SHARD_INDEX=$((ANYGPU_SLICE % n)) GTEST_TOTAL_SHARDS="$n"
  echo "slice $GTEST_SHARD_INDEX of $n; ANYGPU_SLICE=$ANYGPU_SLICE repeats it"
fi
exec "$@"
