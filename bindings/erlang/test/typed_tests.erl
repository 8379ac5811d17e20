%% Typed kinds: what is encoded is decoded, what cannot be is refused by name, and SQLite shows the fields that were captured.
-module(typed_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).
-define(K, elixir_scope_capture_pipeline_kind).

%% A kind with a field of each type.
every_type() ->
    Integers = [u8, u16, u32, u64, i8, i16, i32, i64],
    {ok, Kind} = ?K:new(7, #{
        name => everything,
        category => "tests",
        fields => [{I, I} || I <- Integers] ++ [
            {f32, f32}, {f64, {f64, [{unit, <<"µs"/utf8>>}]}}, {flag, bool}, {site, {address, [{hint, hexadecimal}]}}, {host, {string, 6}},
            {digest, {bytes, 3}}, {state, {enum, i16, [{low, -32768}, {"high", 32767}]}}, {rest, string}
        ]
    }),
    Kind.

values() ->
    #{
        u8 => 255, u16 => 16#FFFE, u32 => 16#FFFFFFFF, u64 => 16#FFFFFFFFFFFFFFFF, i8 => -128, i16 => -2, i32 => 16#7FFFFFFF,
        i64 => -16#8000000000000000, f32 => 1.5, f64 => -0.1, flag => true, site => 16#401136, host => <<"größ"/utf8>>, digest => <<0, 1, 2>>,
        state => low, rest => <<"to the end">>
    }.

payload(Kind, Values) ->
    {ok, Payload} = ?K:encode(Kind, Values),
    Payload.

what_is_encoded_is_decoded_test() ->
    Kind = every_type(),
    Values = values(),
    ?assertEqual({ok, Values}, ?K:decode(Kind, payload(Kind, Values))),
    ?assertEqual({ok, Values}, ?K:decode(Kind, payload(Kind, maps:to_list(Values)))),
    %% The bytes are those of the library's format: little-endian, without padding.
    <<255, 16#FE, 16#FF, _:40/binary, _/binary>> = payload(Kind, Values),
    ?assertEqual(30 + 12 + 1 + 8 + 6 + 3 + 2 + 10, byte_size(payload(Kind, Values))).

values_may_be_written_in_several_ways_test() ->
    Kind = every_type(),
    Read = fun(Changes) -> {ok, Map} = ?K:decode(Kind, payload(Kind, maps:merge(values(), Changes))), maps:with(maps:keys(Changes), Map) end,
    ?assertEqual(#{host => <<"node">>, state => "high", f64 => 3.0}, Read(#{host => node, state => "high", f64 => 3})),
    ?assertEqual(#{host => <<"chars">>, state => "high"}, Read(#{host => "chars", state => 32767})),
    ?assertEqual(#{state => 5}, Read(#{state => 5})),
    ?assertEqual(#{f32 => nan, f64 => infinity}, Read(#{f32 => nan, f64 => infinity})),
    ?assertEqual(#{f32 => neg_infinity, f64 => nan}, Read(#{f32 => neg_infinity, f64 => nan})),
    ?assertEqual(#{f32 => infinity, f64 => neg_infinity}, Read(#{f32 => infinity, f64 => neg_infinity})),
    {ok, Without} = ?K:decode(Kind, payload(Kind, maps:remove(rest, values()))),
    ?assertEqual(<<>>, maps:get(rest, Without)).

a_field_that_the_payload_is_too_short_for_is_left_out_test() ->
    Kind = every_type(),
    Payload = payload(Kind, values()),
    [begin
        {ok, Read} = ?K:decode(Kind, binary:part(Payload, 0, Length)),
        ?assertEqual(Read, maps:with(maps:keys(Read), maps:put(rest, maps:get(rest, Read, x), values()))),
        ?assertEqual(Length >= 1, maps:is_key(u8, Read)),
        ?assertEqual(Length >= 62, maps:is_key(rest, Read))
    end || Length <- lists:seq(0, byte_size(Payload))],
    ?assertEqual({error, badarg}, ?K:decode(Kind, no_binary)).

places_of_a_struct_in_c_test() ->
    {ok, Kind} = ?K:new(1, [{name, padded}, {size, 24}, {fields, [{b, {u64, [{offset, 8}]}}, {a, {u8, [{offset, 0}]}}, {c, {u16, [{offset, 16}]}}]}]),
    ?assertEqual({ok, <<1, 0:56, 2:64/little, 3:16/little, 0:48>>}, ?K:encode(Kind, #{a => 1, b => 2, c => 3})),
    ?assertEqual(1, ?K:number(Kind)).

wrong_values_are_refused_by_name_test() ->
    Kind = every_type(),
    Refused = fun(Values) -> {error, {invalid, Text}} = ?K:encode(Kind, Values), unicode:characters_to_list(Text) end,
    Change = fun(Key, Value) -> Refused((values())#{Key => Value}) end,
    ?assertEqual("field u8: 0 to 255 allowed (u8), 256 given", Change(u8, 256)),
    ?assertEqual("field i64: -9223372036854775808 to 9223372036854775807 allowed (i64), 9223372036854775808 given", Change(i64, 1 bsl 63)),
    ?assertEqual("field site: 0 to 18446744073709551615 allowed (address), -1 given", Change(site, -1)),
    ?assertEqual("field u32: 0 to 4294967295 allowed (u32), 1.0 given", Change(u32, 1.0)),
    ?assertEqual("field f32: 1.0e300 is too large for 32 bits", Change(f32, 1.0e300)),
    ?assertEqual("field f64: a number expected, huge given", Change(f64, huge)),
    ?assertEqual("field flag: true or false expected, 1 given", Change(flag, 1)),
    ?assertEqual("field host: at most 6 bytes allowed, 7 given", Change(host, "seven77")),
    ?assertEqual("field host: a text without NUL expected, [97,0] given", Change(host, [97, 0])),
    ?assertEqual("field host: an atom or a text expected, 5 given", Change(host, 5)),
    ?assertMatch("field host: an atom or a text expected, " ++ _, Change(host, <<255>>)),
    ?assertEqual("field digest: a binary of 3 bytes expected, <<1,2>> given", Change(digest, <<1, 2>>)),
    ?assertEqual("field state: -32768 to 32767 allowed ({enum,i16,[{low,-32768},{\"high\",32767}]}), 40000 given", Change(state, 40000)),
    ?assertEqual("field state: an integer or one of [low,\"high\"] expected, middle given", Change(state, middle)),
    ?assertEqual("field u8: its value is missing", Refused(#{})),
    ?assertEqual("nothing: there is no such field", Change(nothing, 1)),
    ?assertMatch({error, {invalid, <<"values: a map or a list", _/binary>>}}, ?K:encode(Kind, 5)),
    ?assertMatch({error, {invalid, <<"values: a map or a list", _/binary>>}}, ?K:encode(Kind, [5])).

wrong_kinds_are_refused_by_name_test() ->
    Refused = fun(Number, Options) -> {error, {invalid, Text}} = ?K:new(Number, Options), unicode:characters_to_list(Text) end,
    Fields = fun(List) -> Refused(1, #{name => k, fields => List}) end,
    ?assertEqual("kind: 0 to 2147418111 allowed, -1 given", Refused(-1, #{name => k})),
    ?assertEqual("options: color is unknown", Refused(1, #{name => k, color => red})),
    ?assertEqual("options: a map or a list of pairs expected, 5 given", Refused(1, 5)),
    ?assertEqual("options: a map or a list of pairs expected, [5] given", Refused(1, [5])),
    ?assertEqual("name: an atom or a text expected, 5 given", Refused(1, #{name => 5})),
    ?assertMatch("role: one of " ++ _, Refused(1, #{name => k, role => start})),
    ?assertEqual("pairs_with: 0 to 2147418111 allowed, -1 given", Refused(1, #{name => k, role => 'begin', pairs_with => -1})),
    ?assertEqual("fields: {Name, Type} or {Name, {Type, Options}} expected, x given", Fields([x])),
    ?assertMatch("fields: a list of at most 64 expected, " ++ _, Fields([{list_to_atom("f" ++ integer_to_list(N)), u8} || N <- lists:seq(1, 65)])),
    ?assertEqual("field a: the type u128 is unknown", Fields([{a, u128}])),
    ?assertEqual("field a: the type {string,0} is unknown", Fields([{a, {string, 0}}])),
    ?assertEqual("field a: the type f32 is unknown", Fields([{a, {enum, f32, [{x, 1}]}}])),
    ?assertEqual("field a: values: {Name, Value} expected, x given", Fields([{a, {enum, u8, [x]}}])),
    ?assertEqual("field a: values: {Name, Value} with an integer expected, {x,y} given", Fields([{a, {enum, u8, [{x, y}]}}])),
    ?assertEqual("field a: the option {color,red} is unknown", Fields([{a, {u8, [{color, red}]}}])),
    ?assertMatch("field a: hint: one of " ++ _, Fields([{a, {u8, [{hint, octal}]}}])),
    ?assertEqual("field a: offset: 0 to 4294967294 allowed, -1 given", Fields([{a, {u8, [{offset, -1}]}}])),
    ?assertEqual("field b: offset: it overlaps with another field, which ends at 8, 7 given", Fields([{a, u64}, {b, {u8, [{offset, 7}]}}])),
    ?assertEqual("field a: only the last field can have the rest of the payload", Fields([{a, string}, {b, u8}])),
    ?assertEqual("size: at least 8 expected, where the last field ends, 7 given", Refused(1, #{name => k, size => 7, fields => [{a, u64}]})),
    ?assertEqual("field a: unit: at most 255 bytes allowed, 300 given", Fields([{a, {u8, [{unit, lists:duplicate(300, $x)}]}}])),
    ?assertEqual("the name of a field: a text without NUL expected, [0] given", Fields([{[0], u8}])).

%% What only the library checks.
the_library_refuses_the_rest_by_name_test() ->
    {ok, P} = ?C:start(#{}),
    Refused = fun(Options) ->
        {ok, Kind} = ?K:new(1, Options),
        {error, {invalid, Text}} = ?C:kind_define(P, Kind),
        unicode:characters_to_list(Text)
    end,
    ?assertEqual("kind 1: name: it is empty", Refused(#{fields => []})),
    ?assertEqual("kind 1: name: a letter, then letters, digits and underscores expected, \"a b\" given", Refused(#{name => 'a b'})),
    ?assertEqual("kind 1: field A: name: fields[0] and fields[1] have it; names differ by more than case", Refused(#{name => k, fields => [{a, u8}, {'A', u8}]})),
    ?assertEqual("kind 1: key_field: there is no field \"b\"", Refused(#{name => k, key => b, fields => [{a, u8}]})),
    ?assertEqual("kind 1: field a: values: an enum names at least one", Refused(#{name => k, fields => [{a, {enum, u8, []}}]})),
    ?assertEqual("kind 1: field a: values[0]: 0 to 255 allowed (u8), 256 given", Refused(#{name => k, fields => [{a, {enum, u8, [{x, 256}]}}]})),
    ?assertEqual("kind 1: pairs_with: a kind of role end names the other kind", Refused(#{name => k, role => 'end'})),
    ok = ?C:kind_define(P, every_type()),
    ok = ?C:kind_define(P, every_type()),
    {ok, Other} = ?K:new(7, #{name => everything, fields => [{u8, i8}]}),
    ?assertMatch({error, {fixed, <<"kind 7: it is defined already, and u8 is different there">>}}, ?C:kind_define(P, Other)),
    [?assertEqual({error, badarg}, ?C:kind_define(P, W)) || W <- [x, 1, #{}, {}, [], {kind}]],
    [?assertEqual({error, badarg}, ?C:kind_define(W, every_type())) || W <- [x, 1, make_ref()]],
    ok = ?C:close(P),
    {ok, Late} = ?K:new(9, #{name => late}),
    ?assertMatch({error, {closed, _}}, ?C:kind_define(P, Late)).

%% The NIF takes only what the module makes, and refuses all else without harm.
the_nif_refuses_other_terms_test() ->
    {ok, P} = ?C:start(#{}),
    {ok, Native} = ?K:native(every_type()),
    Nif = elixir_scope_capture_pipeline_nif,
    Fields = element(9, Native),
    Wrong = [x, -1, 1 bsl 70, 1.5, {}, [x], [a | b], <<0>>, <<1:3>>, binary:copy(<<"x">>, 300), #{}, self()],
    [?assertEqual({At, W, {error, badarg}}, {At, W, Nif:pipeline_kind_define(P, setelement(At, Native, W))})
        || At <- lists:seq(1, 9), W <- Wrong, not (is_binary(W) andalso lists:member(At, [2, 3, 6, 7]) andalso W =:= <<>>)],
    [?assertEqual({At, W, {error, badarg}}, {At, W, Nif:pipeline_kind_define(P, setelement(9, Native, [setelement(At, hd(Fields), W) | tl(Fields)]))})
        || At <- lists:seq(1, 8), W <- Wrong],
    ?assertEqual({error, badarg}, Nif:pipeline_kind_define(P, setelement(9, Native, lists:duplicate(1000, hd(Fields))))),
    Many = [{N, <<"x">>} || N <- lists:seq(1, 2000)],
    ?assertEqual({error, badarg}, Nif:pipeline_kind_define(P, setelement(9, Native, [setelement(8, hd(Fields), Many)]))),
    ok = Nif:pipeline_kind_define(P, Native).

sqlite_shows_the_fields_test() ->
    sqlite_tests:with_file(fun(Path) ->
        {ok, P} = ?C:start(#{}, {sqlite, Path, #{synchronous => off}}),
        Kind = every_type(),
        ok = ?C:kind_define(P, Kind),
        ok = ?C:capture(P, 7, payload(Kind, values())),
        ok = ?C:capture(P, 7, payload(Kind, (values())#{u8 => 1, f32 => nan, state => 3, rest => <<>>})),
        ok = ?C:close(P, 10000),
        Sql = fun(Query) -> string:trim(os:cmd("sqlite3 '" ++ Path ++ "' \"" ++ Query ++ "\"")) end,
        ?assertEqual(
            "255|65534|4294967295|18446744073709551615|-128|-2|2147483647|-9223372036854775808|1.5|-0.1|1|0x401136|6772C3B6C39F|000102|low|to the end",
            Sql("select u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, flag, site, hex(host), hex(digest), state, rest from kind_everything where u8 = 255")
        ),
        ?assertEqual("256|1|3", Sql("select sum(u8), sum(f32 is null), max(case when u8 = 1 then state end) from kind_everything")),
        ?assertEqual("everything", Sql("select name from kinds where kind = 7"))
    end).
