#!/bin/bash
# must_not_compile.sh: mistakes with the C++ wrapper that every installed compiler must refuse. Each stands beside its correction. All
# corrections compile, so it is the mistake that is refused.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/check.sh

# The header is precompiled once for each compiler.
cat >"$work/user.hpp" <<'CPP'
#include <capture_pipeline.hpp>
#include <string>
#include <vector>
namespace cp = capture_pipeline;
using namespace std::chrono_literals;
enum class Topic : unsigned { one = 1 };
enum class Wide : unsigned long long { one = 1 };
struct Point { double x, y; };
struct Named { std::string name; };
struct Odd { long double wide; Point point; int numbers[3]; double x, _y; char text[4]; bool set; };
struct Derived : Point { int z; };
CPP
flags=(-std=c++17 -Wall -Wextra -Werror -Iinclude)
compilers=()
for cxx in g++ clang++; do
    command -v $cxx >/dev/null || continue
    mkdir "$work/$cxx"
    cp "$work/user.hpp" "$work/$cxx/user.hpp"
    check "$cxx: the header" $cxx "${flags[@]}" -x c++-header "$work/user.hpp" -o "$work/$cxx/user.hpp.gch"
    compilers+=($cxx)
done
: >"$work/corrections"

# body NAME STATEMENTS: a function of a user's program, with a pipeline `p`, an event and a storage in scope.
body() {
    echo "void $1(cp::Pipeline &p, const cp::EventView &event);"
    echo "void $1(cp::Pipeline &p, const cp::EventView &event) {"
    echo "    (void)p, (void)event;"
    echo "    cp::Storage storage([](const cp::Batch &) {});"
    echo "    { $2 }"
    echo "}"
}
compile() { # compile COMPILER FILE
    $1 "${flags[@]}" -include "$work/$1/user.hpp" -fsyntax-only "$2" >"$work/messages" 2>&1 && return 0
    cat "$work/messages"
    return 1
}

# mistake NAME WRONG RIGHT [MESSAGE]: the first does not compile (and the compiler says MESSAGE), the second does.
mistakes=0
mistake() {
    local cxx
    mistakes=$((mistakes + 1))
    body "right_$mistakes" "$3" >>"$work/corrections"
    body wrong "$2" >"$work/wrong.cpp"
    for cxx in "${compilers[@]}"; do
        refused "$cxx: $1" compile "$cxx" "$work/wrong.cpp"
        [ $# -lt 4 ] || check "$cxx: $1: the compiler says why" grep -q "$4" "$work/messages"
    done
}

why="a storage's function returns a capture_pipeline::Answer"
mistake "store returns a bool" \
    'cp::Storage s([](const cp::Batch &b) { return b.size() > 0; });' \
    'cp::Storage s([](const cp::Batch &b) { return b.size() > 0 ? cp::Answer::ok : cp::Answer::retry; });' "$why"
mistake "store returns a bool, given to the pipeline directly" \
    'cp::Pipeline q([](const cp::Batch &) { return true; });' \
    'cp::Pipeline q([](const cp::Batch &) { return PIPELINE_STORE_OK; });' "$why"
mistake "store returns a size" \
    'cp::Storage s([](const cp::Batch &b) { return b.size(); });' \
    'cp::Storage s([](const cp::Batch &b) { return static_cast<std::int32_t>(b.size()); });' "$why"
mistake "store returns a Status" \
    'cp::Storage s([](const cp::Batch &) { return cp::Status(PIPELINE_OK); });' \
    'cp::Storage s([](const cp::Batch &) {});' "$why"
mistake "on_flush returns a bool" \
    'storage.on_flush([](std::chrono::milliseconds) { return true; });' \
    'storage.on_flush([](std::chrono::milliseconds) { return cp::Status(PIPELINE_OK); });' "$why"
mistake "on_finish returns a bool" \
    'storage.on_finish([](std::chrono::milliseconds) { return true; });' \
    'storage.on_finish([](std::chrono::milliseconds) { return cp::Answer::ok; });' "$why"
mistake "on_dead_letter returns a bool" \
    'storage.on_dead_letter([](const cp::Batch &, std::int32_t) { return true; });' \
    'storage.on_dead_letter([](const cp::Batch &, std::int32_t) { return cp::Status(PIPELINE_OK); });' "$why"
mistake "a storage class whose store is a bool" \
    'struct S : cp::StorageBase { bool store(const cp::Batch &) override { return true; } };' \
    'struct S : cp::StorageBase { cp::StoreResult store(const cp::Batch &) override { return cp::Answer::ok; } };'
mistake "a storage class that returns true" \
    'struct S : cp::StorageBase { cp::StoreResult store(const cp::Batch &) override { return true; } };' \
    'struct S : cp::StorageBase { cp::StoreResult store(const cp::Batch &) override { return PIPELINE_STORE_OK; } };'
mistake "a storage class whose flush returns true" \
    'struct S : cp::StorageBase { cp::StoreResult store(const cp::Batch &) override { return cp::Answer::ok; }
        cp::FlushResult flush(std::chrono::milliseconds) override { return true; } };' \
    'struct S : cp::StorageBase { cp::StoreResult store(const cp::Batch &) override { return cp::Answer::ok; }
        cp::FlushResult flush(std::chrono::milliseconds) override { return cp::Status(PIPELINE_ERR_SYSTEM); } };'
mistake "a storage class whose dead_letter returns true" \
    'struct S : cp::StorageBase { cp::StoreResult store(const cp::Batch &) override { return cp::Answer::ok; }
        cp::DeadLetterResult dead_letter(const cp::Batch &, std::int32_t) override { return true; } };' \
    'struct S : cp::StorageBase { cp::StoreResult store(const cp::Batch &) override { return cp::Answer::ok; }
        cp::DeadLetterResult dead_letter(const cp::Batch &, std::int32_t) override { return cp::Answer::ok; } };'
mistake "a Status that is not looked at, of close" 'p.close(5s);' 'if (!p.close(5s)) std::abort();'
mistake "a Status that is not looked at, of flush" 'p.flush(5s);' 'p.flush(5s).ignore();'
mistake "a Status that is not looked at, of capture" 'p.capture(1, 5);' 'p.capture(1, 5).ignore();'
mistake "a Status made of a bool" 'cp::Status s = true; s.ignore();' 'cp::Status s = PIPELINE_OK; s.ignore();'
mistake "a reservation of a temporary producer" \
    'cp::Reservation room = p.producer().reserve(1, 8);' \
    'cp::Producer producer = p.producer(); cp::Reservation room = producer.reserve(1, 8);'
mistake "a copy of a pipeline" 'cp::Pipeline q = p;' 'cp::Pipeline q = std::move(p);'
mistake "a copy of a producer" \
    'cp::Producer a = p.producer(); cp::Producer b = a;' 'cp::Producer a = p.producer(); cp::Producer b = std::move(a);'
mistake "a pointer as a payload" \
    'Point point{}; p.capture(1, &point).ignore();' 'Point point{}; p.capture(1, point).ignore();' "a pointer would be captured"
mistake "nullptr as a payload" \
    'p.capture(1, nullptr).ignore();' 'p.capture(1, cp::Bytes()).ignore();'
mistake "a payload that owns memory" \
    'p.capture(1, Named{"x"}).ignore();' 'p.capture(1, Named{"x"}.name).ignore();' "must be trivially copyable"
mistake "a vector as a payload" \
    'std::vector<int> v{1}; p.capture(1, v).ignore();' \
    'std::vector<int> v{1}; p.capture(1, cp::Bytes(v.data(), v.size() * sizeof v[0])).ignore();' "must be trivially copyable"
mistake "a payload read as what owns memory" \
    '(void)event.as<Named>();' '(void)event.as<Point>();' "must be trivially copyable"
mistake "a bool as a kind" 'p.capture(true, 5).ignore();' 'p.capture(Topic::one, 5).ignore();'
mistake "an enum of 64 bits as a kind" \
    'p.capture(Wide::one, 5).ignore();' 'p.capture(Topic::one, 5).ignore();' "32 bits at most"
mistake "a payload without a kind, and no kind given" 'p.capture(Point{}).ignore();' 'p.capture(1, Point{}).ignore();'
mistake "a number compared with an enum" \
    '(void)(event.kind() == Topic::one);' '(void)event.is(Topic::one);'

field() { echo "(void)CAPTURE_PIPELINE_FIELD(Odd, $1)${2-};"; }
kind() { echo "p.define(cp::Definition::of<$1>(1, \"k\", $2));"; }
x="CAPTURE_PIPELINE_FIELD(Point, x)" y="CAPTURE_PIPELINE_FIELD(Point, y)"
why="a field is a bool, an integer"
mistake "a field of a long double" "$(field wide)" "$(field x)" "$why"
mistake "a field of a struct" "$(field point)" '(void)CAPTURE_PIPELINE_FIELD_AS(Odd, point.x, "px");' "$why"
mistake "a field of an array of integers" "$(field numbers)" "$(field text)" "$why"
mistake "a field whose name begins with an underscore" \
    "$(field _y)" '(void)CAPTURE_PIPELINE_FIELD_AS(Odd, _y, "y");' "the name of a field"
mistake "a field with a name that is none" \
    '(void)CAPTURE_PIPELINE_FIELD_AS(Odd, point.x, "point.x");' '(void)CAPTURE_PIPELINE_FIELD_AS(Odd, point.x, "point_x");' "the name of a field"
mistake "a text as a number of bytes" "$(field text '.bytes()')" "$(field x '.bytes()')" "can be a number of bytes"
mistake "a bool as nanoseconds" "$(field set '.nanoseconds()')" "$(field x '.nanoseconds()')" "can be a number of bytes"
mistake "a float in hexadecimal" "$(field x '.hexadecimal()')" "$(field text '.unit("text")')" "in hexadecimal"
mistake "names for the values of a float" \
    "$(field x '.names({{1.0, "one"}})')" '(void)CAPTURE_PIPELINE_FIELD(cp::Head, node_id).names({{1, "one"}});' "has values with names"
mistake "a member that is not there" "$(field missing)" "$(field x)"
mistake "a kind with a field twice" "$(kind Point "$x, $x")" "$(kind Point "$x, $y")" "two fields overlap"
mistake "a kind with a field of another struct" "$(kind Odd "$y")" "$(kind Point "$y")" "belongs to another struct"
mistake "a kind with a field behind the rest" \
    "$(kind Point 'cp::Rest<Point>::text("a"), cp::Rest<Point>::text("b")')" "$(kind Point 'cp::Rest<Point>::text("a")')" "two fields overlap"
mistake "a kind of what owns memory" "$(kind Named 'cp::Rest<Named>::text("a")')" "$(kind Odd 'CAPTURE_PIPELINE_FIELD(Odd, x)')" "must be trivially copyable"
mistake "a kind of a struct without a standard layout" "$(kind Derived 'cp::Rest<Derived>::text("a")')" "$(kind Point "$x")" "standard layout"
mistake "a kind of a struct without a kind" \
    "p.define(cp::Definition::of<Point>(\"k\", $x));" "p.define(cp::Definition::of<Point>(1, \"k\", $x));"

cp "$work/corrections" "$work/right.cpp"
for cxx in "${compilers[@]}"; do check "$cxx: all corrections compile" compile "$cxx" "$work/right.cpp"; done

closing "must not compile"
