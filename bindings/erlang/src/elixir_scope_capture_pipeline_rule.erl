%% @doc Rules as data. A rule says what becomes of the events that all of its conditions choose.
%%
%% ```
%% ok = elixir_scope_capture_pipeline:set_rules(P, [
%%     #{name => noise, drop => true, kinds => [7], payload_bytes => {0, 15}},
%%     #{name => errors, keep => trace, 'if' => "status = \"error\""},
%%     #{name => rest, sample => 10}
%% ]).
%% '''
%%
%% A rule is a map or a list of pairs. `docs/rules.md' says what the actions do, in which order rules are followed, and what an expression is.
%%
%% == Actions ==
%% At least one.
%% <ul>
%% <li>`drop => true'</li>
%% <li>`keep => true', or `keep => trace'</li>
%% <li>`sample => N': one of N is kept.</li>
%% <li>`limit => PerSecond', or `limit => {PerSecond, Burst}'</li>
%% <li>`priority => true'; `snapshot => true'</li>
%% <li>`tag => 1..8', or a list of tags</li>
%% <li>`redact => Field', or a list of them: `FIELD', `KIND.FIELD', `payload' or `payload[A..B]', as atoms or texts</li>
%% </ul>
%%
%% == Conditions ==
%% None: every event.
%% <ul>
%% <li>`kinds => [Kind]', `kind_range => {Least, Greatest}'</li>
%% <li>`correlation_ids => [Id]', or `any' for events that have one; `node_ids' likewise</li>
%% <li>`payload_bytes => {Least, Greatest}', `payload_prefix => Binary'</li>
%% <li>`if => Expression': a text</li>
%% </ul>
%%
%% == And ==
%% <ul>
%% <li>`name => Name': an atom or a text</li>
%% <li>`dry => true': the rule only counts.</li>
%% </ul>
%%
%% A term that goes to consumers is not looked into: such an event has a kind, ids and the bytes that it takes in a ring buffer, and no field or byte that a rule
%% could compare or redact. With a native storage a term is captured in the external term format, and its bytes are those.
-module(elixir_scope_capture_pipeline_rule).

-export([native/1]).
-export_type([rule/0, options/0, metrics/0]).

-type id() :: 0..16#FFFFFFFFFFFFFFFF.
-type name() :: atom() | unicode:chardata().
-type options() :: #{
    name => name(),
    dry => boolean(),
    drop => boolean(),
    keep => boolean() | trace,
    sample => pos_integer(),
    limit => pos_integer() | {pos_integer(), pos_integer()},
    priority => boolean(),
    snapshot => boolean(),
    tag => 1..8 | [1..8],
    redact => name() | [name()],
    kinds => [elixir_scope_capture_pipeline:kind()],
    kind_range => {elixir_scope_capture_pipeline:kind(), elixir_scope_capture_pipeline:kind()},
    correlation_ids => [id()] | any,
    node_ids => [id()] | any,
    payload_bytes => {non_neg_integer(), non_neg_integer()},
    payload_prefix => binary(),
    'if' => unicode:chardata()
}.
-type rule() :: options() | [{atom(), term()}].
-type metrics() :: #{
    name := binary(),
    line := non_neg_integer(),
    active := boolean(),
    waits_for := binary(),
    dry := boolean(),
    matched := non_neg_integer(),
    dropped := non_neg_integer(),
    limited := non_neg_integer(),
    sampled_out := non_neg_integer(),
    snapshots_asked := non_neg_integer()
}.
%% The fields of `pipeline_rule_metrics_t' in `capture_pipeline.h'.

-define(MAX_32, 16#FFFFFFFF).
-define(MAX_64, 16#FFFFFFFFFFFFFFFF).
-define(KEYS, [
    name, dry, drop, keep, sample, limit, priority, snapshot, tag, redact, kinds, kind_range, correlation_ids, node_ids, payload_bytes, payload_prefix, 'if'
]).

%% @private
%% The rules as the NIF takes them. The error names the rule, the key and what was expected.
-spec native(term()) -> {ok, [tuple()]} | {error, {invalid, binary()}}.
native(Rules) ->
    try
        {ok, each(Rules, 1)}
    catch
        throw:{invalid, Text} -> {error, {invalid, Text}}
    end.

each([Rule | Rules], Index) -> [one(map(Rule, Index), Index) | each(Rules, Index + 1)];
each([], _Index) -> [];
each(_, _Index) -> fail("rules: a list expected", []).

map(Rule, _Index) when is_map(Rule) ->
    Rule;
map(Rule, Index) ->
    try
        maps:from_list(Rule)
    catch
        error:_ -> fail("rule ~w: a map or a list of pairs expected, ~tP given", [Index, Rule, 20])
    end.

one(Rule, Index) ->
    Where =
        case Rule of
            #{name := Name} when Name =/= nil -> io_lib:format("rule ~w (~ts)", [Index, shown(Name)]);
            #{} -> io_lib:format("rule ~w", [Index])
        end,
    [refuse(Where, Key, "is unknown", []) || Key <- maps:keys(Rule) -- ?KEYS],
    Get = fun(Key, Default, Convert) ->
        case Rule of
            #{Key := nil} -> Default;
            #{Key := Value} -> converted(Where, Key, Value, Convert);
            #{} -> Default
        end
    end,
    {KindMin, KindMax} = Get(kind_range, {0, ?MAX_32}, range(?MAX_32)),
    {PayloadMin, PayloadMax} = Get(payload_bytes, {0, ?MAX_64}, range(?MAX_64)),
    {Limit, Burst} = Get(limit, {0, 0}, fun limit/1),
    {Correlations, HasCorrelation} = Get(correlation_ids, {none, 0}, ids(2)),
    {Nodes, HasNode} = Get(node_ids, {none, 0}, ids(4)),
    Actions = [Get(drop, 0, flag(1)), Get(keep, 0, fun keep/1), Get(priority, 0, flag(8)), Get(snapshot, 0, flag(16))],
    {Get(name, <<>>, fun text/1), Get('if', <<>>, fun text/1), Get(dry, 0, flag(1)) bor HasCorrelation bor HasNode,
        lists:foldl(fun(Bits, All) -> Bits bor All end, 0, Actions), Get(tag, 0, fun tags/1), Get(kinds, none, fun kinds/1), KindMin, KindMax,
        Correlations, Nodes, PayloadMin, PayloadMax, Get(payload_prefix, none, fun prefix/1), Get(redact, [], fun redacted/1), Limit, Burst,
        Get(sample, 0, number(1, ?MAX_32))}.

%% Each converts a value, or says what was expected.

flag(Bit) ->
    fun
        (true) -> Bit;
        (false) -> 0;
        (_) -> {expected, "true or false"}
    end.

keep(true) -> 2;
keep(trace) -> 4;
keep(false) -> 0;
keep(_) -> {expected, "true, trace or false"}.

number(Least, Greatest) ->
    fun
        (Number) when is_integer(Number), Number >= Least, Number =< Greatest -> Number;
        (_) -> {expected, io_lib:format("an integer from ~w to ~w", [Least, Greatest])}
    end.

limit({PerSecond, Burst}) when is_integer(PerSecond), PerSecond > 0, PerSecond =< ?MAX_64, is_integer(Burst), Burst > 0, Burst =< ?MAX_64 ->
    {PerSecond, Burst};
limit(PerSecond) when is_integer(PerSecond), PerSecond > 0, PerSecond =< ?MAX_64 -> {PerSecond, 0};
limit(_) -> {expected, "a positive integer, or {PerSecond, Burst}"}.

range(Most) ->
    fun
        ({Least, Greatest}) when is_integer(Least), Least >= 0, Least =< Most, is_integer(Greatest), Greatest >= 0, Greatest =< Most -> {Least, Greatest};
        (_) -> {expected, io_lib:format("{Least, Greatest} with integers from 0 to ~w", [Most])}
    end.

tags(Tags) when is_list(Tags) ->
    case lists:all(fun(Tag) -> is_integer(Tag) andalso Tag >= 1 andalso Tag =< 8 end, Tags) of
        true -> lists:foldl(fun(Tag, Bits) -> Bits bor (1 bsl (Tag - 1)) end, 0, Tags);
        false -> {expected, "tags from 1 to 8"}
    end;
tags(Tag) -> tags([Tag]).

kinds(Kinds) ->
    case is_list(Kinds) andalso lists:all(fun(Kind) -> is_integer(Kind) andalso Kind >= 0 andalso Kind =< ?MAX_32 end, Kinds) of
        true -> Kinds;
        false -> {expected, "a list of kinds"}
    end.

ids(Has) ->
    fun
        (any) ->
            {none, Has};
        (Ids) ->
            case is_list(Ids) andalso lists:all(fun(Id) -> is_integer(Id) andalso Id >= 0 andalso Id =< ?MAX_64 end, Ids) of
                true -> {Ids, 0};
                false -> {expected, "a list of ids, or any"}
            end
    end.

prefix(Prefix) when is_binary(Prefix) -> Prefix;
prefix(_) -> {expected, "a binary"}.

%% A character list is one field.
redacted([First | _] = Fields) when not is_integer(First) ->
    Texts = [text(Field) || Field <- Fields],
    case lists:all(fun is_binary/1, Texts) of
        true -> Texts;
        false -> {expected, "fields as atoms or texts"}
    end;
redacted(Field) ->
    case text(Field) of
        Text when is_binary(Text) -> [Text];
        Expected -> Expected
    end.

text(Value) ->
    case elixir_scope_capture_pipeline_text:text(Value) of
        Text when is_binary(Text), Text =/= <<>> -> Text;
        _ -> {expected, "an atom or a text"}
    end.

converted(Where, Key, Value, Convert) ->
    try Convert(Value) of
        {expected, What} -> refuse(Where, Key, "~ts expected, ~tP given", [What, Value, 20]);
        Converted -> Converted
    catch
        %% Such as an improper list.
        error:_ -> refuse(Where, Key, "~tP is no value for it", [Value, 20])
    end.

shown(Name) ->
    case text(Name) of
        Text when is_binary(Text) -> Text;
        _ -> io_lib:format("~tP", [Name, 20])
    end.

-spec refuse(iodata(), term(), string(), [term()]) -> no_return().
refuse(Where, Key, Format, Values) -> fail("~ts: ~tp: " ++ Format, [Where, Key | Values]).

-spec fail(string(), [term()]) -> no_return().
fail(Format, Values) -> throw({invalid, unicode:characters_to_binary(io_lib:format(Format, Values))}).
