#!/bin/bash
# Erlang writes the bytes of infinity for a float that is too large for its segment. The manual says that it raises an exception.
#
# Version: Erlang/OTP 25.2.3 (Debian 12, erlang-base 1:25.2.3+dfsg-1+deb12u4). Runs with the `erl` of the path, if that is OTP 25; otherwise it
# unpacks Debian's package into a temporary folder.
#
# Behaviour: `<<X:32/float>>` with X = 1.0e300 is <<127,128,0,0>>, the infinity of IEEE 754, and `<<X:16/float>>` is <<124,0>>. No exception is raised.
# So is an integer that has a float but none of the segment's size, `1 bsl 1000`. Only an integer that no float can hold, `1 bsl 1024`, is
# badarg. The bytes cannot be read back: a match on `<<Y:32/float>>` fails for them, because Erlang has no infinity. The reference manual (Expressions,
# Bit Syntax, Float segments, in the documentation of later releases) says that construction raises an exception where the segment is too small for
# the float.
#
# Output seen: `OTP 25: 1.0e300:32 is <<127,128,0,0>>, 1.0e300:16 is <<124,0>>, -1.0e300:32 little is <<0,0,128,255>>, 1 bsl 1000:32 is <<127,128,0,0>>, 1 bsl 1024:32 is badarg, read back: no match`
#
# Consequence: an encoder of f32 fields cannot rely on badarg to refuse a value that does not fit. It has to compare with the greatest f32, or to look
# at the bytes; otherwise a finite value is stored as infinity, which its own language cannot read.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
release=$(erl -noshell -eval 'io:put_chars(erlang:system_info(otp_release)), halt().' 2>/dev/null || true)
if [ "$release" != 25 ]; then
    apt-get download erlang-base=1:25.2.3+dfsg-1+deb12u4
    dpkg-deb -x erlang-base_*.deb unpacked
    sed -i "s|^ROOTDIR=.*|ROOTDIR=$place/unpacked/usr/lib/erlang|" unpacked/usr/lib/erlang/bin/erl
    PATH="$place/unpacked/usr/lib/erlang/bin:$PATH"
fi
cat >shown.erl <<'ERL'
-module(shown).
-export([main/0]).

%% What is known to the compiler only at run time.
value(Text) -> {ok, Tokens, _} = erl_scan:string(Text ++ "."), {ok, Forms} = erl_parse:parse_exprs(Tokens),
    {value, Value, _} = erl_eval:exprs(Forms, []), Value.

of_size(Value, 16) -> try <<Value:16/float>> catch error:Reason -> Reason end;
of_size(Value, 32) -> try <<Value:32/float>> catch error:Reason -> Reason end.

main() ->
    Large = value("1.0e300"),
    Infinity = of_size(Large, 32),
    Read = case Infinity of <<Number:32/float>> -> Number; _ -> 'no match' end,
    io:format(
        "OTP ~s: 1.0e300:32 is ~w, 1.0e300:16 is ~w, -1.0e300:32 little is ~w, 1 bsl 1000:32 is ~w, 1 bsl 1024:32 is ~w, read back: ~s~n",
        [erlang:system_info(otp_release), Infinity, of_size(Large, 16), <<(-Large):32/float-little>>,
         of_size(value("1 bsl 1000"), 32), of_size(value("1 bsl 1024"), 32), Read]
    ).
ERL
erlc shown.erl
seen=$(erl -noshell -s shown main -s init stop)
echo "$seen"
expected="OTP 25: 1.0e300:32 is <<127,128,0,0>>, 1.0e300:16 is <<124,0>>, -1.0e300:32 little is <<0,0,128,255>>, 1 bsl 1000:32 is <<127,128,0,0>>, 1 bsl 1024:32 is badarg, read back: no match"
if [ "$seen" != "$expected" ]; then
    echo "changed: expected: $expected" >&2
    exit 1
fi
echo "as described"
