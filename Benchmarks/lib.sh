# What Benchmarks/run and Benchmarks/gate share. Sourced, in Benchmarks/.

source ../scripts/lib/install.sh

# build_product NAME: sets $binary to a program of this package, built in release mode. HOLDFAST_BENCH_BINARY names one that is built
# already.
build_product() {
  if [ -n "${HOLDFAST_BENCH_BINARY:-}" ]; then
    binary=$HOLDFAST_BENCH_BINARY
    return
  fi
  mkdir -p .build
  if ! swift build -c release --product "$1" ${HOLDFAST_BUILD_FLAGS:-} >.build/log 2>&1; then
    tail -50 .build/log >&2
    return 1
  fi
  binary="$(swift build -c release --show-bin-path)/$1"
}

# Starts a Redis of our own on a private socket, which ends with the script.
start_redis() {
  need redis-server redis-server
  need redis-benchmark redis-tools
  folder=$(mktemp -d)
  redis-server --port 0 --unixsocket "$folder/redis.sock" --save "" --appendonly no --dir "$folder" >"$folder/log" 2>&1 &
  server=$!
  trap 'kill $server 2>/dev/null; wait $server 2>/dev/null || true; rm -rf "$folder"' EXIT
  for _ in $(seq 100); do [ -S "$folder/redis.sock" ] && break; sleep 0.05; done
  export HOLDFAST_BENCH_SOCKET="$folder/redis.sock"
}

# Counts of one run of `$binary "$@"`: each prints a number.

instructions() {
  # Without the compiler's debug information, which valgrind 3.19 cannot read. With symbols, for callgrind_annotate.
  local stripped
  stripped=.build/stripped-$(basename "$binary")
  [ "$stripped" -nt "$binary" ] || strip -g -o "$stripped" "$binary"
  valgrind --tool=callgrind --callgrind-out-file=.build/callgrind.out "$stripped" "$@" 2>&1 |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

mallocs() {
  [ .build/mallocs.so -nt peers/mallocs.c ] || gcc -O2 -shared -fPIC -o .build/mallocs.so peers/mallocs.c
  LD_PRELOAD="$PWD/.build/mallocs.so" "$binary" "$@" 2>&1 >/dev/null | sed -n 's/^mallocs //p'
}

# Writes to sockets: those that wake an event loop go to an eventfd.
writes() {
  strace -f -y -e trace=write,writev,sendto,sendmsg -o .build/strace "$binary" "$@" >/dev/null
  grep -c 'socket:' .build/strace
}

# All but those of the timer that looks for deadlines: it ticks by the clock (40 times a second), and strace stretches time tenfold.
system_calls() {
  strace -f -y -o .build/strace "$binary" "$@" >/dev/null
  grep -v 'timerfd' .build/strace | grep -c '('
}

# per_operation COUNTER SHORT LONG WORD...: the difference of two run lengths, so that what a run costs besides its operations does
# not count. Ends with 1 where a run cannot be counted, so that nobody takes that for 0.
per_operation() {
  local counter=$1 short=$2 long=$3 a b
  shift 3
  a=$("$counter" "$@" "$short") || return 1
  b=$("$counter" "$@" "$long") || return 1
  if ! [ "${a:-0}" -gt 0 ] || ! [ "${b:-0}" -ge "$a" ]; then
    echo "$counter of $*: '$a' for $short and '$b' for $long are no counts" >&2
    return 1
  fi
  awk -v a="$a" -v b="$b" -v n="$((long - short))" 'BEGIN { printf "%.3f", (b - a) / n }'
}
