#!/bin/bash
# header_compile.sh [PREFIX]: the headers compile without a warning in every language version that they promise, included twice, with
# each compiler that is there. Everything that the C header declares can be named from C and from C++. The program at the top of the
# header compiles. With an installation at PREFIX (build/prefix unless given) it also runs and stores its event.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/check.sh

# A use of every function and every constant, valid in C89 and C++98.
{
    echo '#include <capture_pipeline.h>'
    echo '#include <capture_pipeline.h>'
    echo '#include <capture_pipeline_fast.h>'
    echo 'typedef void (*any_function)(void);'
    echo 'extern const any_function functions[];'
    echo 'const any_function functions[] = {'
    sed 's/.*/    (any_function)&,/' packaging/exports.txt
    echo '    (any_function)0'
    echo '};'
    echo 'extern const double constants[];'
    echo 'const double constants[] = {'
    sed -n 's/^#define \(PIPELINE_[A-Z0-9_]*\) .*/    (double)\1,/p' include/capture_pipeline.h
    echo '    0'
    echo '};'
    echo 'const pipeline_event_view_t *first_event(const pipeline_batch_t *batch);'
    echo 'const pipeline_event_view_t *first_event(const pipeline_batch_t *batch) {'
    echo '    return batch->count > 0 ? PIPELINE_BATCH_EVENT(batch, 0) : (const pipeline_event_view_t *)0;'
    echo '}'
    # The macros that describe fields.
    echo 'struct payload { uint64_t size; double load; unsigned char state; char text[1]; };'
    echo 'static const pipeline_enum_value_t states[] = { { 0, "open" }, { 1, "shut" } };'
    echo 'static const pipeline_field_t fields[] = {'
    echo '    PIPELINE_FIELD(struct payload, size, PIPELINE_TYPE_U64),'
    echo '    PIPELINE_FIELD_SHOWN(struct payload, load, PIPELINE_TYPE_F64, PIPELINE_HINT_NONE, "s"),'
    echo '    PIPELINE_FIELD_ENUM(struct payload, state, PIPELINE_TYPE_U8, states),'
    echo '    PIPELINE_FIELD_REST(struct payload, text, PIPELINE_TYPE_STRING)'
    echo '};'
    echo 'void set_fields(pipeline_kind_definition_t *definition);'
    echo 'void set_fields(pipeline_kind_definition_t *definition) { PIPELINE_KIND_FIELDS(definition, fields); }'
} >"$work/all.c"
cp "$work/all.c" "$work/all.cpp"
# Each function of capture_pipeline_fast.h: with a length that the compiler knows, and with one that it does not.
cat >"$work/fast.c" <<'EOF'
#include <capture_pipeline_fast.h>
#include <capture_pipeline_fast.h>
extern int32_t captures(pipeline_producer_t *producer, size_t len);
int32_t captures(pipeline_producer_t *producer, size_t len) {
    static const unsigned char some[100] = {1};
    double known = 1.5;
    pipeline_event_t event;
    pipeline_fast_t *fast = pipeline_fast_of(producer);
    int32_t status = pipeline_fast_capture(producer, fast, 7, some, len);
    if (status == PIPELINE_OK)
        status = pipeline_fast_capture(producer, fast, 7, &known, sizeof known);
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    event.data = some;
    event.len = 3;
    return status == PIPELINE_OK ? pipeline_fast_capture_event(producer, fast, &event) : status;
}
EOF
cp "$work/fast.c" "$work/fast.cpp"
printf '#include <capture_pipeline_reader.hpp>\n#include <capture_pipeline_reader.hpp>\n#include <capture_pipeline.hpp>\n#include <capture_pipeline.h>\n' >"$work/wrapper.cpp"

warnings="-pedantic -Wall -Wextra -Werror -Wstrict-prototypes -Wold-style-definition -Wmissing-prototypes -Wundef -Wshadow"
cxx_warnings="-pedantic -Wall -Wextra -Werror -Wundef -Wshadow -Wnon-virtual-dtor"
cast="-Wno-cast-function-type"

for cc in gcc clang; do
    command -v $cc >/dev/null || continue
    for std in c89 c99 c11 c17 c2x; do
        check "capture_pipeline.h, $cc -std=$std" \
            $cc -std=$std $warnings $cast -Iinclude -c "$work/all.c" -o "$work/all.o"
        for way in "" -O2 -DPIPELINE_FAST_CALLS_ONLY; do
            check "capture_pipeline_fast.h, $cc -std=$std $way" \
                $cc -std=$std $warnings -Wconversion -Wcast-align $way -Iinclude -c "$work/fast.c" -o "$work/fast.o"
        done
    done
done
for cxx in g++ clang++; do
    command -v $cxx >/dev/null || continue
    for std in c++98 c++11 c++14 c++17 c++20; do
        check "capture_pipeline.h, $cxx -std=$std" \
            $cxx -std=$std $cxx_warnings $cast -Iinclude -c "$work/all.cpp" -o "$work/all.o"
        for way in "" -O2 -DPIPELINE_FAST_CALLS_ONLY; do
            check "capture_pipeline_fast.h, $cxx -std=$std $way" \
                $cxx -std=$std $cxx_warnings -Wconversion -Wcast-align $way -Iinclude -c "$work/fast.cpp" -o "$work/fast.o"
        done
    done
    [ -e include/capture_pipeline.hpp ] || continue
    for std in c++17 c++20; do
        check "capture_pipeline.hpp, $cxx -std=$std" \
            $cxx -std=$std $cxx_warnings -Iinclude -c "$work/wrapper.cpp" -o "$work/wrapper.o"
    done
done

# A C++ compiler must not mangle the C names.
g++ -std=c++17 $cast -Iinclude -c "$work/all.cpp" -o "$work/all.o"
check "C++ refers to the C names" \
    same "$(cat packaging/exports.txt)" "$(nm -u "$work/all.o" | awk '{ print $2 }' | grep pipeline_ | LC_ALL=C sort)"

# The program at the top of the header.
sed -n '/^ \*     #include/,/^ \*     }/s/^ \* \{0,5\}//p' include/capture_pipeline.h >"$work/first.c"
check "the header begins with a program" grep -q '^int main' "$work/first.c"
for std in c89 c17; do
    check "it compiles, -std=$std" gcc -std=$std $warnings -Iinclude -c "$work/first.c" -o "$work/first.o"
done
prefix=${1:-build/prefix}
if [ -e "$prefix/lib/libcapture_pipeline.so" ]; then
    prefix=$(realpath "$prefix")
    check "it links" gcc "$work/first.o" -o "$work/first" -L"$prefix/lib" -lcapture_pipeline -Wl,-rpath,"$prefix/lib"
    check "it runs" bash -c "cd '$work' && timeout 60 ./first"
    check "it stores its event" same "7|hello" "$(sqlite3 "$work/events.db" 'SELECT kind, payload FROM events_view' 2>&1)"
fi

closing "header"
