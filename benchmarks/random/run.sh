#!/bin/sh
# Repeat the TestU01 runs of README.md.
#
#   ./run.sh                  SmallCrush, 4 to 20 rounds, three directions   (about 4 minutes)
#   ./run.sh crush            the same, then Crush of 13 rounds              (about 2 hours more)
#   ./run.sh crush 12 steps   Crush of one number of rounds, one direction; test numbers may follow
#
# One core. The summary of each run is written to results/. SEED=2 ./run.sh … repeats it with another seed.
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
compile() {
    "${CC:-cc}" -O3 -march=native -std=gnu11 -I"$headers" testu01.c -o "$build/testu01" "$@" -lm
}
# Debian's names of the libraries, then TestU01's own.
compile -ltestu01 -ltestu01probdist -ltestu01mylib 2>/dev/null || compile -ltestu01 -lprobdist -lmylib
"$build/testu01" check

# battery LOG SUITE DIRECTION ROUNDS [TEST...]: the whole output is long, its summary is what is kept.
battery() {
    log=results/$1
    shift
    "$build/testu01" "$@" >"$build/output"
    sed -n '/Summary results/,$p' "$build/output" | cat -s | tee -a "$log"
    grep -q 'Blocks drawn' "$log"
}

mkdir -p results
case $#-${1:-small} in
0-small | 1-small | 1-crush)
    rm -f results/smallcrush.log
    for rounds in 4 5 6 7 8 9 10 11 12 13 16 20; do
        for direction in agents steps streams; do
            battery smallcrush.log small "$direction" "$rounds"
        done
    done
    [ "${1:-small}" = crush ] || exit 0
    for direction in agents steps streams; do
        rm -f "results/crush-13-rounds-$direction.log"
        battery "crush-13-rounds-$direction.log" crush "$direction" 13
    done
    ;;
[3-9]-crush | [1-9][0-9]*-crush)
    rounds=$2 direction=$3
    shift 3
    name=crush-$rounds-rounds-$direction${1:+-some}${SEED:+-seed-$SEED}.log
    rm -f "results/$name"
    battery "$name" crush "$direction" "$rounds" "$@"
    ;;
*)
    echo "run.sh: got '$*'; write run.sh, run.sh crush, or run.sh crush ROUNDS agents|steps|streams [TEST...]" >&2
    exit 2
    ;;
esac
