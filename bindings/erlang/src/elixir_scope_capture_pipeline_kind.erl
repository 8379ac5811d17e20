%% @doc Typed kinds: the fields of a payload, binaries made from values, and values read from binaries.
%%
%% ```
%% {ok, Kind} = elixir_scope_capture_pipeline_kind:new(7, #{
%%     name => allocation,
%%     fields => [{size, {u64, [{hint, bytes}]}}, {site, address}, {op, {enum, u8, [{malloc, 0}, {free, 1}]}}, {file, string}]
%% }),
%% ok = elixir_scope_capture_pipeline:kind_define(P, Kind),
%% {ok, Payload} = elixir_scope_capture_pipeline_kind:encode(Kind, #{size => 64, site => 16#401136, op => malloc, file => <<"a.c">>}),
%% ok = elixir_scope_capture_pipeline:capture(P, 7, Payload),
%% {ok, #{size := 64, op := malloc}} = elixir_scope_capture_pipeline_kind:decode(Kind, Payload).
%% '''
%%
%% == Options of new/2 ==
%% A map or a list of pairs.
%% <ul>
%% <li>`name' (must be given), `category': an atom or a text.</li>
%% <li>`role': `instant' (the default), `begin', `end', `complete', `counter', `flow' or `log' (the second and third need quotes); `pairs_with': the
%% other kind of a beginning or an end; `duration': the field of a `complete' with its nanoseconds; `key': the field that tells pairs, series or flows
%% apart.</li>
%% <li>`fields': a list of `{Name, Type}' or `{Name, {Type, Options}}', in their order. The options of a field are `{unit, Text}', `{hint, Hint}' (`hexadecimal',
%% `bytes' or `nanoseconds') and `{offset, Bytes}'. Without an offset a field follows the one before it, without padding.</li>
%% <li>`size': the size of the payload, if it is more than its fields take: of a struct in C, for example.</li>
%% </ul>
%%
%% == Types and values ==
%% <table>
%% <tr><td>`u8', `u16', `u32', `u64', `i8', `i16', `i32', `i64'</td><td>an integer</td></tr>
%% <tr><td>`f32', `f64'</td><td>a number; `nan', `infinity' or `neg_infinity'</td></tr>
%% <tr><td>`bool'</td><td>`true' or `false'</td></tr>
%% <tr><td>`address'</td><td>an integer of 64 bits</td></tr>
%% <tr><td>`{string, Bytes}'; `string': the rest of the payload</td><td>an atom or a text without NUL; decoded as a binary</td></tr>
%% <tr><td>`{bytes, Bytes}'; `bytes': the rest of the payload</td><td>a binary of that size</td></tr>
%% <tr><td>`{enum, IntegerType, [{Name, Value}]}'</td><td>a name as it stands in the list, or an integer</td></tr>
%% </table>
%%
%% This module is plain Erlang: a kind is a term of its own, which any process may keep and use.
-module(elixir_scope_capture_pipeline_kind).

-export([new/2, number/1, encode/2, decode/2, native/1]).
-export_type([kind/0, options/0, field/0, type/0, field_option/0, hint/0, role/0, value/0, problem/0]).

-include("elixir_scope_capture_pipeline_kind.hrl").

-define(MAX_KIND, 16#7FFEFFFF).
-define(NO_KIND, 16#FFFFFFFF).
-define(REST, 16#FFFFFFFF).
-define(MAX_SIZE, 16#FFFFFFFE).

-type name() :: atom() | unicode:chardata().
-type options() :: #{
    name := name(), category => name(), role => role(), pairs_with => 0..?MAX_KIND, key => name(), duration => name(),
    size => pos_integer(), fields => [field()]
} | [{atom(), term()}].
-type field() :: {name(), type() | {type(), [field_option()]}}.
-type field_option() :: {unit, name()} | {hint, hint()} | {offset, non_neg_integer()}.
-type hint() :: none | hexadecimal | bytes | nanoseconds.
-type role() :: instant | 'begin' | 'end' | complete | counter | flow | log.
-type integer_type() :: u8 | u16 | u32 | u64 | i8 | i16 | i32 | i64.
-type type() ::
    integer_type() | f32 | f64 | bool | address | string | {string, pos_integer()} | bytes | {bytes, pos_integer()}
    | {enum, integer_type(), [{name(), integer()}]}.
-type value() :: integer() | float() | atom() | binary() | unicode:chardata().
-type problem() :: {invalid, unicode:unicode_binary()}.

%% How the values of a field lie in the payload.
-type coding() ::
    {integer, Bits :: 8 | 16 | 32 | 64, Least :: integer(), Greatest :: pos_integer()} | {float, 32 | 64} | bool | string | bytes
    | {enum, coding(), Values :: #{name() => integer()}, Names :: #{integer() => name()}}.

-record(field, {
    key :: name(), name :: binary(), type :: type(), coding :: coding(), offset :: non_neg_integer(), length :: pos_integer() | rest,
    unit = <<>> :: binary(), hint = none :: hint()
}).
-record(kind, {
    number :: 0..?MAX_KIND, name :: binary(), category :: binary(), role :: role(), pairs_with :: 0..?NO_KIND, key :: binary(),
    duration :: binary(), size :: non_neg_integer(),
    %% As given, and in the order in which they lie in the payload.
    fields :: [#field{}], placed :: [#field{}]
}).
-opaque kind() :: #kind{}.

%% ---- definitions ----

%% @doc Makes a kind. `{error, {invalid, Text}}' names the option or the field. What only the library checks is refused by
%% {@link elixir_scope_capture_pipeline:kind_define/2}.
-spec new(0..?MAX_KIND, options()) -> {ok, kind()} | {error, problem()}.
new(Number, Options) when is_list(Options) ->
    try maps:from_list(Options) of
        Map -> new(Number, Map)
    catch
        error:_ -> problem("options: a map or a list of pairs expected, ~tp given", [Options])
    end;
new(Number, Options) when is_map(Options) ->
    try
        check(is_integer(Number) andalso Number >= 0 andalso Number =< ?MAX_KIND, "kind: 0 to ~w allowed, ~tp given", [?MAX_KIND, Number]),
        Known = [name, category, role, pairs_with, key, duration, size, fields],
        [fail("options: ~tp is unknown", [Key]) || Key <- maps:keys(Options) -- Known],
        Role = maps:get(role, Options, instant),
        check(maps:is_key(Role, ?ROLES), "role: one of ~tp expected, ~tp given", [maps:keys(?ROLES), Role]),
        PairsWith = maps:get(pairs_with, Options, ?NO_KIND),
        check(PairsWith =:= ?NO_KIND orelse is_integer(PairsWith) andalso PairsWith >= 0 andalso PairsWith =< ?MAX_KIND,
            "pairs_with: 0 to ~w allowed, ~tp given", [?MAX_KIND, PairsWith]),
        List = maps:get(fields, Options, []),
        check(is_list(List) andalso length(List) =< 64, "fields: a list of at most 64 expected, ~tp given", [List]),
        Fields = fields(List, 0),
        Placed = lists:keysort(#field.offset, Fields),
        End = fits(Placed, 0),
        Size = maps:get(size, Options, End),
        check(is_integer(Size) andalso Size >= End andalso Size =< ?MAX_SIZE, "size: at least ~w expected, where the last field ends, ~tp given", [End, Size]),
        {ok, #kind{
            number = Number, name = label("name", maps:get(name, Options, <<>>)), category = label("category", maps:get(category, Options, <<>>)),
            role = Role, pairs_with = PairsWith, key = label("key", maps:get(key, Options, <<>>)),
            duration = label("duration", maps:get(duration, Options, <<>>)), size = Size, fields = Fields, placed = Placed
        }}
    catch
        throw:{invalid, _} = Problem -> {error, Problem}
    end;
new(_Number, Options) ->
    problem("options: a map or a list of pairs expected, ~tp given", [Options]).

fields([], _End) ->
    [];
fields([{Key, {Type, Options}} | Rest], End) when is_list(Options) ->
    Field = field(Key, Type, Options, End),
    [Field | fields(Rest, field_end(Field))];
fields([{Key, Type} | Rest], End) ->
    Field = field(Key, Type, [], End),
    [Field | fields(Rest, field_end(Field))];
fields([Other | _], _End) ->
    fail("fields: {Name, Type} or {Name, {Type, Options}} expected, ~tp given", [Other]);
fields(Other, _End) ->
    fail("fields: a list expected, ~tp given", [Other]).

field(Key, Type, Options, End) ->
    Name = label("the name of a field", Key),
    {Coding, Length} = coding(Name, Type),
    Plain = #field{key = Key, name = Name, type = Type, coding = Coding, offset = End, length = Length},
    Set = fun
        ({unit, Unit}, Field) ->
            Field#field{unit = label([<<"field ">>, Name, <<": unit">>], Unit)};
        ({hint, Hint}, Field) ->
            check(maps:is_key(Hint, ?HINTS), "field ~ts: hint: one of ~tp expected, ~tp given", [Name, maps:keys(?HINTS), Hint]),
            Field#field{hint = Hint};
        ({offset, Offset}, Field) ->
            check(is_integer(Offset) andalso Offset >= 0 andalso Offset =< ?MAX_SIZE, "field ~ts: offset: 0 to ~w allowed, ~tp given", [Name, ?MAX_SIZE, Offset]),
            Field#field{offset = Offset};
        (Other, _) ->
            fail("field ~ts: the option ~tp is unknown", [Name, Other])
    end,
    try
        lists:foldl(Set, Plain, Options)
    catch
        error:function_clause -> fail("field ~ts: a list of options expected, ~tp given", [Name, Options])
    end.

field_end(#field{offset = Offset, length = rest}) -> Offset;
field_end(#field{offset = Offset, length = Length}) -> Offset + Length.

%% Where the last field ends. No field may begin before the one that lies before it has ended.
fits([], End) ->
    End;
fits([#field{offset = Offset, name = Name} | _], End) when Offset < End ->
    fail("field ~ts: offset: it overlaps with another field, which ends at ~w, ~w given", [Name, End, Offset]);
fits([#field{length = rest, name = Name}, _ | _], _End) ->
    fail("field ~ts: only the last field can have the rest of the payload", [Name]);
fits([Field | Rest], _End) ->
    fits(Rest, field_end(Field)).

coding(Name, {enum, Integer, Values}) ->
    {Coding, Length} = integer(Name, Integer),
    check(is_list(Values), "field ~ts: values: a list of {Name, Value} expected, ~tp given", [Name, Values]),
    [check(is_integer(V), "field ~ts: values: {Name, Value} with an integer expected, ~tp given", [Name, Pair]) || {_, V} = Pair <- Values],
    [fail("field ~ts: values: {Name, Value} expected, ~tp given", [Name, Other]) || Other <- Values, not is_tuple(Other) orelse tuple_size(Other) =/= 2],
    _ = [label([<<"field ">>, Name, <<": values: name">>], Label) || {Label, _} <- Values],
    check(length(Values) =< 1638, "field ~ts: values: at most 1638 allowed, ~w given", [Name, length(Values)]),
    {{enum, Coding, maps:from_list(Values), maps:from_list([{V, N} || {N, V} <- Values])}, Length};
coding(_Name, string) -> {string, rest};
coding(_Name, bytes) -> {bytes, rest};
coding(_Name, {Type, Bytes}) when (Type =:= string orelse Type =:= bytes), is_integer(Bytes), Bytes > 0, Bytes =< ?MAX_SIZE -> {Type, Bytes};
coding(_Name, f32) -> {{float, 32}, 4};
coding(_Name, f64) -> {{float, 64}, 8};
coding(_Name, bool) -> {bool, 1};
coding(Name, address) -> integer(Name, u64);
coding(Name, Type) -> integer(Name, Type).

integer(_Name, u8) -> {{integer, 8, 0, 16#FF}, 1};
integer(_Name, u16) -> {{integer, 16, 0, 16#FFFF}, 2};
integer(_Name, u32) -> {{integer, 32, 0, 16#FFFFFFFF}, 4};
integer(_Name, u64) -> {{integer, 64, 0, 16#FFFFFFFFFFFFFFFF}, 8};
integer(_Name, i8) -> {{integer, 8, -16#80, 16#7F}, 1};
integer(_Name, i16) -> {{integer, 16, -16#8000, 16#7FFF}, 2};
integer(_Name, i32) -> {{integer, 32, -16#80000000, 16#7FFFFFFF}, 4};
integer(_Name, i64) -> {{integer, 64, -16#8000000000000000, 16#7FFFFFFFFFFFFFFF}, 8};
integer(Name, Type) -> fail("field ~ts: the type ~tp is unknown", [Name, Type]).

%% @doc The number of the kind.
-spec number(kind()) -> 0..?MAX_KIND.
number(#kind{number = Number}) -> Number.

%% @private
%% The definition as the NIF takes it.
-spec native(term()) -> {ok, tuple()} | {error, badarg}.
native(#kind{} = K) ->
    Fields = [native_field(Field) || Field <- K#kind.fields],
    {ok, {K#kind.number, K#kind.name, K#kind.category, maps:get(K#kind.role, ?ROLES), K#kind.pairs_with, K#kind.key, K#kind.duration, K#kind.size, Fields}};
native(_) ->
    {error, badarg}.

native_field(#field{length = Length} = F) ->
    {Type, Integer, Values} =
        case F#field.type of
            {enum, Of, Pairs} -> {enum, maps:get(Of, ?TYPES), [{Value, text("the name of a value", Name)} || {Name, Value} <- Pairs]};
            {Sort, _Bytes} -> {Sort, 0, []};
            Sort -> {Sort, 0, []}
        end,
    Native = case Length of rest -> ?REST; _ -> Length end,
    {F#field.name, maps:get(Type, ?TYPES), Integer, F#field.offset, Native, F#field.unit, maps:get(F#field.hint, ?HINTS), Values}.

%% ---- payloads ----

%% @doc The payload with these values. Each field must be given, but one that has the rest of the payload, which is empty by default. Keys are the
%% names of the fields as they were given to {@link new/2}.
-spec encode(kind(), #{name() => value()} | [{name(), value()}]) -> {ok, binary()} | {error, problem()}.
encode(Kind, Values) when is_list(Values) ->
    try maps:from_list(Values) of
        Map -> encode(Kind, Map)
    catch
        error:_ -> problem("values: a map or a list of pairs expected, ~tp given", [Values])
    end;
encode(#kind{placed = Placed, fields = Fields, size = Size}, Values) when is_map(Values) ->
    try
        Payload = encode_fields(Placed, Values, Size, <<>>),
        %% All fields are there, or all but the rest. So their number tells whether there is anything else.
        case length(Fields) - without_rest(Placed, Values) of
            Given when Given =:= map_size(Values) -> {ok, Payload};
            _ -> fail("~tp: there is no such field", [hd(maps:keys(Values) -- [F#field.key || F <- Fields])])
        end
    catch
        throw:{invalid, _} = Problem -> {error, Problem}
    end;
encode(_Kind, Values) ->
    problem("values: a map or a list of pairs expected, ~tp given", [Values]).

encode_fields([], _Values, Size, Payload) ->
    filled(Payload, Size);
encode_fields([#field{key = Key, length = rest} = Field], Values, _Size, Payload) ->
    Before = filled(Payload, Field#field.offset),
    case Values of
        #{Key := Value} -> <<Before/binary, (encode_value(Field, Field#field.coding, Value))/binary>>;
        #{} -> Before
    end;
encode_fields([#field{key = Key, offset = Offset} = Field | Rest], Values, Size, Payload) ->
    Before = filled(Payload, Offset),
    case Values of
        #{Key := Value} -> encode_fields(Rest, Values, Size, <<Before/binary, (encode_value(Field, Field#field.coding, Value))/binary>>);
        #{} -> fail("field ~ts: its value is missing", [Field#field.name])
    end.

%% 1: the values have no bytes for the field that has the rest of the payload.
without_rest([], _Values) -> 0;
without_rest([#field{key = Key, length = rest}], Values) when not is_map_key(Key, Values) -> 1;
without_rest([_ | Rest], Values) -> without_rest(Rest, Values).

%% With zeros up to the offset.
filled(Payload, Offset) when byte_size(Payload) >= Offset -> Payload;
filled(Payload, Offset) -> <<Payload/binary, 0:(8 * (Offset - byte_size(Payload)))>>.

encode_value(_, {integer, Bits, Least, Greatest}, Value) when is_integer(Value), Value >= Least, Value =< Greatest ->
    <<Value:Bits/little>>;
encode_value(Field, {integer, _, Least, Greatest}, Value) ->
    fail("field ~ts: ~w to ~w allowed (~tp), ~tp given", [Field#field.name, Least, Greatest, Field#field.type, Value]);
encode_value(Field, {float, Bits} = Coding, Value) when is_number(Value) ->
    %% Too large a number is an error in the VM or, as 32 bits, infinity.
    try <<Value:Bits/float-little>> of
        Bytes -> check(is_float(decode_value(Coding, Bytes)), "field ~ts: ~tp is too large for ~w bits", [Field#field.name, Value, Bits]), Bytes
    catch
        error:_ -> fail("field ~ts: ~tp is too large for ~w bits", [Field#field.name, Value, Bits])
    end;
encode_value(_, {float, 32}, nan) -> <<16#7FC00000:32/little>>;
encode_value(_, {float, 32}, infinity) -> <<16#7F800000:32/little>>;
encode_value(_, {float, 32}, neg_infinity) -> <<16#FF800000:32/little>>;
encode_value(_, {float, 64}, nan) -> <<16#7FF8000000000000:64/little>>;
encode_value(_, {float, 64}, infinity) -> <<16#7FF0000000000000:64/little>>;
encode_value(_, {float, 64}, neg_infinity) -> <<16#FFF0000000000000:64/little>>;
encode_value(Field, {float, _}, Value) ->
    fail("field ~ts: a number expected, ~tp given", [Field#field.name, Value]);
encode_value(_, bool, false) -> <<0>>;
encode_value(_, bool, true) -> <<1>>;
encode_value(Field, bool, Value) ->
    fail("field ~ts: true or false expected, ~tp given", [Field#field.name, Value]);
encode_value(#field{length = Length} = Field, string, Value) ->
    Text = text([<<"field ">>, Field#field.name], Value),
    check(binary:match(Text, <<0>>) =:= nomatch, "field ~ts: a text without NUL expected, ~tp given", [Field#field.name, Value]),
    check(Length =:= rest orelse byte_size(Text) =< Length, "field ~ts: at most ~w bytes allowed, ~w given", [Field#field.name, Length, byte_size(Text)]),
    case Length of rest -> Text; _ -> filled(Text, Length) end;
encode_value(#field{length = rest}, bytes, Value) when is_binary(Value) -> Value;
encode_value(#field{length = Length}, bytes, Value) when is_binary(Value), byte_size(Value) =:= Length -> Value;
encode_value(#field{length = Length} = Field, bytes, Value) ->
    Expected = case Length of rest -> <<"a binary">>; _ -> [<<"a binary of ">>, integer_to_binary(Length), <<" bytes">>] end,
    fail("field ~ts: ~ts expected, ~tp given", [Field#field.name, Expected, Value]);
encode_value(Field, {enum, Coding, Values, _}, Value) ->
    case Values of
        #{Value := Number} -> encode_value(Field, Coding, Number);
        #{} when is_integer(Value) -> encode_value(Field, Coding, Value);
        #{} -> fail("field ~ts: an integer or one of ~tp expected, ~tp given", [Field#field.name, maps:keys(Values), Value])
    end.

%% @doc The values of a payload, by the names of the fields as they were given to {@link new/2}. A field that the payload is too short for is left out.
-spec decode(kind(), binary()) -> {ok, #{name() => value()}} | {error, badarg}.
decode(#kind{fields = Fields}, Payload) when is_binary(Payload) ->
    {ok, maps:from_list([{F#field.key, Value} || F <- Fields, {ok, Value} <- [decode_field(F, Payload)]])};
decode(_Kind, _Payload) ->
    {error, badarg}.

decode_field(#field{offset = Offset, length = rest, coding = Coding}, Payload) ->
    case Payload of
        <<_:Offset/binary, Bytes/binary>> -> {ok, decode_value(Coding, Bytes)};
        _ -> absent
    end;
decode_field(#field{offset = Offset, length = Length, coding = Coding}, Payload) ->
    case Payload of
        <<_:Offset/binary, Bytes:Length/binary, _/binary>> -> {ok, decode_value(Coding, Bytes)};
        _ -> absent
    end.

decode_value({integer, Bits, 0, _}, Bytes) ->
    <<Value:Bits/little-unsigned>> = Bytes,
    Value;
decode_value({integer, Bits, _, _}, Bytes) ->
    <<Value:Bits/little-signed>> = Bytes,
    Value;
decode_value({float, Bits}, Bytes) ->
    case Bytes of
        <<Value:Bits/float-little>> -> Value;
        <<0:16, 16#80, 16#7F>> -> infinity;
        <<0:16, 16#80, 16#FF>> -> neg_infinity;
        <<0:48, 16#F0, 16#7F>> -> infinity;
        <<0:48, 16#F0, 16#FF>> -> neg_infinity;
        _ -> nan
    end;
decode_value(bool, Bytes) -> Bytes =/= <<0>>;
decode_value(string, Bytes) -> hd(binary:split(Bytes, <<0>>));
decode_value(bytes, Bytes) -> Bytes;
decode_value({enum, Coding, _, Names}, Bytes) ->
    Value = decode_value(Coding, Bytes),
    maps:get(Value, Names, Value).

%% ---- texts and problems ----

%% A text of a definition, within the NIF's limit. The library has lower ones.
label(What, Term) ->
    Text = text(What, Term),
    check(byte_size(Text) =< 255, "~ts: at most 255 bytes allowed, ~w given", [What, byte_size(Text)]),
    check(binary:match(Text, <<0>>) =:= nomatch, "~ts: a text without NUL expected, ~tp given", [What, Term]),
    Text.

text(_What, Text) when is_atom(Text) -> atom_to_binary(Text, utf8);
text(What, Text) when is_binary(Text); is_list(Text) ->
    try unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> fail("~ts: an atom or a text expected, ~tp given", [What, Text])
    catch
        error:_ -> fail("~ts: an atom or a text expected, ~tp given", [What, Text])
    end;
text(What, Text) ->
    fail("~ts: an atom or a text expected, ~tp given", [What, Text]).

check(true, _Format, _Arguments) -> ok;
check(false, Format, Arguments) -> fail(Format, Arguments).

-spec fail(string(), [term()]) -> no_return().
fail(Format, Arguments) -> throw(element(2, problem(Format, Arguments))).

problem(Format, Arguments) ->
    {error, {invalid, unicode:characters_to_binary(io_lib:format(Format, Arguments))}}.
