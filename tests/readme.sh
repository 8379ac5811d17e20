#!/bin/bash
# readme.sh PREFIX: the README's programs in C and C++ build by the README's commands, run, and print or store what the README
# says; tables fit a screen; names in documents are those of the sources; the picture is what its script draws; the
# pages' snippets are those of programs that run.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/check.sh
prefix=$(realpath "$1")
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
# The README's command is for a prefix without a space, which the shell would split; a link to this one has none.
case $prefix in
*' '*)
    ln -s "$prefix" "$work/prefix"
    mkdir "$work/bin"
    printf '#!/bin/sh\nexec %s --define-variable=prefix=%s "$@"\n' "$(command -v pkg-config)" "$work/prefix" >"$work/bin/pkg-config"
    chmod +x "$work/bin/pkg-config"
    PATH=$work/bin:$PATH
    ;;
esac

# block LANGUAGE START: the first fenced block in that language whose first line begins with START.
block() {
    awk -v fence='```'"$1" -v start="$2" '
        $0 == fence { inside = 1; first = 1; next }
        /^```/ { inside = 0; if (shown) exit }
        inside && first { first = 0; shown = index($0, start) == 1 }
        inside && shown' README.md
}

block c '#include <capture_pipeline.h>' >"$work/app.c"
check "the README has a program" grep -q 'int main' "$work/app.c"
commands=$(block sh 'cc app.c -o app ')
compile=$(sed -n 1p <<<"$commands")
check "the README says how to compile it" grep -q '^cc app.c ' <<<"$compile"
check "it compiles, without a warning" bash -c "cd '$work' && ${compile/#cc /cc -Wall -Wextra -Werror }"
check "it runs" bash -c "cd '$work' && timeout 60 ./app"
query=$(sed -n "s/.*sqlite3 events.db '\(.*\)'\$/\1/p" <<<"$commands")
# prints N: the N-th text that the README says is printed.
prints() { sed -n 's/^That prints `\([^`]*\)`.*/\1/p' README.md | sed -n "$1p"; }
check "the database has what the README says" same "$(prints 1)" "$(sqlite3 "$work/events.db" "$query" 2>&1)"

block cpp '#include <capture_pipeline.hpp>' >"$work/app.cpp"
check "the README has a program in C++" grep -q 'int main' "$work/app.cpp"
compile=$(block sh 'c++ ' | sed -n 1p)
check "the README says how to compile it" grep -q '^c++ .*app.cpp ' <<<"$compile"
check "it compiles, without a warning" bash -c "cd '$work' && ${compile/#c++ /c++ -Wall -Wextra -Werror }"
check "it prints what the README says" same "$(prints 2)" "$(cd "$work" && timeout 60 ./app 2>&1)"

for page in README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs/*.md docs/architecture/*.md; do
    [ -e "$page" ] || continue
    # Without what a reader does not see: targets of links, marks of code.
    wide=$(awk -v page="$page" '/^\|/ { line = $0; gsub(/\]\([^)]*\)/, "", line); gsub(/[`*]/, "", line) }
        /^\|/ && length(line) > 112 { print page ":" NR ": " length(line) " characters" }' "$page")
    check "$page: every row of a table fits a screen" same "" "$wide"
done

check "files, functions, tests and mutations that documents name are there" tests/documents.py
check "docs/scale.md has the tables that docs/scale/fleet.py prints" docs/scale/fleet.py --check
check "docs/pipeline.svg is what docs/draw_pipeline.py draws" docs/draw_pipeline.py --check

# The pages' snippets are compiled and run as parts of programs: each stands there word for word, but for its indentation. A page with a language of which
# this list has no program must have no snippets in it.
snippets_of() { # snippets_of PAGE LANGUAGE PROGRAM
    local page=docs/$1 language=$2 file=$3 program count snippet n
    program=$(sed 's/^ *//' "$file")
    count=$(grep -c "^\`\`\`$language\$" "$page")
    check "$1 has snippets in $language" test "$count" -gt 0
    for ((n = 1; n <= count; n++)); do
        snippet=$(awk -v fence='```'"$language" -v n="$n" '$0 == fence { at++; inside = at == n; next } /^```/ { inside = 0 } inside' "$page" | sed 's/^ *//')
        check "snippet $n of $1 is in $file" test -z "${program##*"$snippet"*}"
    done
}
pages='guide.md c tests/c/guide.c
guide.md cpp tests/cpp/guide.cpp
kinds.md c c_examples/typed.c
kinds.md cpp c_examples/typed.cpp
rules.md c tests/c/pages.c
transforms.md c tests/c/pages.c
metrics.md c tests/c/pages.c
journal.md c tests/c/pages.c
reader.md c tests/c/pages.c
reader.md cpp tests/cpp/pages.cpp
recovery.md c tests/c/ring_file/recover.c
sqlite.md c tests/c/pages.c
timelines.md c tests/c/pages.c
nats.md c tests/c/pages_nats.c
flight_recorder.md c tests/c/pages.c'
while read -r page language file; do snippets_of "$page" "$language" "$file"; done <<<"$pages"
for page in docs/*.md docs/architecture/*.md; do
    [ -e "$page" ] || continue
    for language in c cpp; do
        ! grep -q "^\`\`\`$language\$" "$page" || check "the $language snippets of $page are in a program" grep -q "^${page#docs/} $language " <<<"$pages"
    done
done

closing "readme"
