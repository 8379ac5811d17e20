%% @private
%% Measures terms that native code cannot see: the environments of funs, bitstrings of no whole bytes, and the fields of native records (OTP 29).
-module(elixir_scope_capture_pipeline_term).

-export([bound/2]).

-define(REBUILD, 1).
-define(REBUILD_FUN, 4).

%% The most that a bitstring takes beside its bytes, a fun beside its environment, or a native record beside its fields.
-define(HEAD_BYTES, 64).

%% The size of a copy of the term, and the `needs' of the copy (c_src/term/walk.h). Each fun is walked once, and the walk stops at the limit.
-spec bound(term(), non_neg_integer()) -> {ok, non_neg_integer(), non_neg_integer()} | too_large.
bound(Term, Limit) ->
    case elixir_scope_capture_pipeline_nif:term_walk(Term, Limit) of
        {Bytes, Needs, []} -> {ok, Bytes, Needs};
        {Bytes, Needs, Opaque} -> measure(Opaque, Bytes, Needs, Limit);
        too_large -> too_large
    end.

measure([], Bytes, Needs, _Limit) ->
    {ok, Bytes, Needs};
measure([Bits | Rest], Bytes, Needs, Limit) when is_bitstring(Bits) ->
    add(Rest, Bytes, byte_size(Bits) + ?HEAD_BYTES, Needs bor ?REBUILD bor ?REBUILD_FUN, Limit);
measure([Fun | Rest], Bytes, Needs, Limit) when is_function(Fun) ->
    {env, Environment} = erlang:fun_info(Fun, env),
    measure_inside(Environment, 0, Rest, Bytes, Needs, Limit);
measure([Other | Rest], Bytes, Needs, Limit) ->
    case fields(Other) of
        {ok, Fields} ->
            measure_inside(Fields, ?HEAD_BYTES, Rest, Bytes, Needs, Limit);
        unknown ->
            %% A type of term that is newer than this library.
            add(Rest, Bytes, erlang:external_size(Other), Needs, Limit)
    end.

%% The terms inside of one that native code cannot see, which takes `Head' bytes beside them.
measure_inside(Inside, Head, Rest, Bytes, Needs, Limit) when Bytes + Head =< Limit ->
    case elixir_scope_capture_pipeline_nif:term_walk(Inside, Limit - Bytes - Head) of
        {More, Inner, Opaque} ->
            Fresh =
                case Inner band ?REBUILD of
                    0 -> Needs;
                    _ -> Needs bor ?REBUILD_FUN
                end,
            add(push(Opaque, Rest), Bytes, Head + More, Fresh, Limit);
        too_large ->
            too_large
    end;
measure_inside(_Inside, _Head, _Rest, _Bytes, _Needs, _Limit) ->
    too_large.

%% The values of a native record. OTP 25 to 28 have no such records, and no module for them.
fields(Term) ->
    Records = records,
    try
        {ok, [Records:get(Name, Term) || Name <- Records:get_field_names(Term)]}
    catch
        error:_ -> unknown
    end.

add(Rest, Bytes, More, Needs, Limit) when Bytes + More =< Limit ->
    measure(Rest, Bytes + More, Needs, Limit);
add(_Rest, _Bytes, _More, _Needs, _Limit) ->
    too_large.

push([], Rest) -> Rest;
push([Opaque | More], Rest) -> push(More, [Opaque | Rest]).
