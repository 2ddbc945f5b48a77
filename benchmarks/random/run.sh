#!/bin/sh
# Repeat the TestU01 runs of README.md.
#
#   ./run.sh                  SmallCrush, 4 to 20 rounds, three directions   (about 4 minutes)
#   ./run.sh crush            the same, then Crush of 13 rounds              (about 2 hours more)
#   ./run.sh crush 12 steps   Crush of one number of rounds, one direction
#
# One core. The summary of each run is written to results/.
set -eu
cd "$(dirname "$0")"

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

headers=
for folder in ${TESTU01_INCLUDE:-} /usr/include/testu01 /usr/local/include/testu01 /usr/local/include /usr/include; do
    if [ -f "$folder/bbattery.h" ]; then
        headers=$folder
        break
    fi
done
if [ -z "$headers" ]; then
    cat >&2 <<'END'
run.sh needs TestU01, and found no bbattery.h.
On Debian, with the non-free component enabled: apt-get install libtestu01-0-dev
Elsewhere, build TestU01 and set TESTU01_INCLUDE to the folder of bbattery.h (and LIBRARY_PATH, LD_LIBRARY_PATH).
END
    exit 1
fi
if [ -f "$headers/../../lib/libmylib.so" ] || [ -f "$headers/../lib/libmylib.so" ]; then
    libraries="-ltestu01 -lprobdist -lmylib -lm" # upstream's names
else
    libraries="-ltestu01 -ltestu01probdist -ltestu01mylib -lm" # Debian's names
fi
# shellcheck disable=SC2086
${CC:-cc} -O3 -march=native -std=gnu11 -I"$headers" testu01.c -o "$build/testu01" $libraries
"$build/testu01" check

# battery SUITE DIRECTION ROUNDS: the whole output is long, its summary is what is kept.
battery() {
    log=results/$1-$3-rounds-$2${REVERSED:+-reversed}.log
    "$build/testu01" "$1" "$2" "$3" >"$build/log"
    sed -n '/Summary results/,$p' "$build/log" | cat -s >"$log"
    grep -q 'Total CPU time' "$log"
    echo "== $log"
    sed -n '/Total CPU time/,/tests were passed/p' "$log"
}

mkdir -p results
case ${1:-small}-$# in
small-0 | small-1 | crush-1)
    for rounds in 4 5 6 7 8 9 10 11 12 13 16 20; do
        for direction in agents steps streams; do
            battery small "$direction" "$rounds"
        done
    done
    if [ "${1:-small}" = crush ]; then
        for direction in agents steps streams; do
            battery crush "$direction" 13
        done
    fi
    ;;
small-3 | crush-3)
    battery "$1" "$3" "$2"
    ;;
*)
    echo "run.sh: got '$*'; write run.sh, run.sh crush, or run.sh small|crush ROUNDS agents|steps|streams" >&2
    exit 2
    ;;
esac
