#!/bin/sh
# floor.sh version|caps|start - the least that a relay can do (floor.c), as a
# measure.  The interface is connector.sh's.
set -eu
case ${1:-} in
version) echo "floor.c of this tree"; exit ;;
caps) echo tls ec workers wrap; exit ;;
start) ;;
*) echo "usage: floor.sh version|caps|start" >&2; exit 2 ;;
esac

# shellcheck disable=SC2086 # a command with its arguments
${BENCH_WRAP:-} "$BUILD/bench/floor" -w "$BENCH_WORKERS" \
	-l "$BENCH_PORT" -c "$BENCH_CERT" -k "$BENCH_KEY" \
	-l "$BENCH_EC_PORT" -c "$BENCH_EC_CERT" -k "$BENCH_EC_KEY" \
	-u "$BENCH_UP_ADDR:$BENCH_UP_PORT" -n "$BENCH_UP_HOST" \
	-A "$BENCH_CA" -B "$BENCH_BEARER" >"$BENCH_RUN/out" 2>&1 </dev/null &
echo "pid $!"
