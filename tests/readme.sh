#!/bin/bash
# readme.sh PREFIX: the README's program builds by the README's command, runs, and leaves in the database what the README
# says; the files that the README and the documents link to are there; the guide's snippets are those of a program that runs.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/check.sh
prefix=$(realpath "$1")
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib

# block LANGUAGE N: the N-th fenced block in that language.
block() { awk -v fence='```'"$1" -v n="$2" '$0 == fence { at++; inside = at == n; next } /^```/ { inside = 0 } inside' README.md; }

block c 1 >"$work/app.c"
check "the README has a program" grep -q 'int main' "$work/app.c"
compile=$(block sh 2 | sed -n 1p)
check "the README says how to compile it" grep -q '^cc app.c ' <<<"$compile"
check "it compiles, without a warning" bash -c "cd '$work' && ${compile/#cc /cc -Wall -Wextra -Werror }"
check "it runs" bash -c "cd '$work' && timeout 60 ./app"
query=$(block sh 2 | sed -n "s/.*sqlite3 events.db '\(.*\)'\$/\1/p")
says=$(sed -n 's/^That prints `\([^`]*\)`.*/\1/p' README.md)
check "the database has what the README says" same "$says" "$(sqlite3 "$work/events.db" "$query" 2>&1)"

for page in README.md CHANGELOG.md CONTRIBUTING.md docs/*.md; do
    grep -o '](\([^)#]*\)' "$page" | sed 's/^](//' | grep -v '^https\?:' | LC_ALL=C sort -u >"$work/links"
    while read -r link; do check "$page links to $link" test -e "$(dirname "$page")/$link"; done <"$work/links"
done

# The guide's snippets are compiled and run as parts of tests/c/guide.c: each stands there word for word.
program=$(<tests/c/guide.c)
snippets=$(grep -c '^```c$' docs/guide.md)
check "the guide has snippets" test "$snippets" -gt 5
for ((n = 1; n <= snippets; n++)); do
    snippet=$(awk -v n="$n" '$0 == "```c" { at++; inside = at == n; next } /^```/ { inside = 0 } inside' docs/guide.md)
    check "snippet $n of the guide is in tests/c/guide.c" test -z "${program##*"$snippet"*}"
done

closing "readme"
