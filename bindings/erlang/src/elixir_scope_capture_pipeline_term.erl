%% @private
%% Measures terms that native code cannot see: the environments of funs, and bitstrings of no whole bytes.
-module(elixir_scope_capture_pipeline_term).

-export([bound/2]).

-define(REBUILD, 1).
-define(REBUILD_FUN, 4).

%% The most that a bitstring takes beside its bytes, or a fun beside its environment.
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
    case elixir_scope_capture_pipeline_nif:term_walk(Environment, Limit - Bytes) of
        {More, Inner, Opaque} ->
            Fresh =
                case Inner band ?REBUILD of
                    0 -> Needs;
                    _ -> Needs bor ?REBUILD_FUN
                end,
            add(push(Opaque, Rest), Bytes, More, Fresh, Limit);
        too_large ->
            too_large
    end;
measure([Other | Rest], Bytes, Needs, Limit) ->
    %% A type of term that is newer than this library.
    add(Rest, Bytes, erlang:external_size(Other), Needs, Limit).

add(Rest, Bytes, More, Needs, Limit) when Bytes + More =< Limit ->
    measure(Rest, Bytes + More, Needs, Limit);
add(_Rest, _Bytes, _More, _Needs, _Limit) ->
    too_large.

push([], Rest) -> Rest;
push([Opaque | More], Rest) -> push(More, [Opaque | Rest]).
