%% @private
%% Measures what native code cannot see: the environments of funs, and bitstrings of no whole bytes.
-module(elixir_scope_capture_pipeline_term).

-export([bound/2]).

-define(REBUILD, 1).
-define(REBUILD_FUN, 4).

%% What a bitstring or the head of a fun takes at most, beside its bytes or its environment.
-define(HEAD_BYTES, 64).

%% The size of a copy of the term, and what a native function must know to make the copy. Each fun is walked once, and the walk
%% stops at the limit, wherever it is by then.
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
    %% A type of term that this library does not know.
    add(Rest, Bytes, erlang:external_size(Other), Needs, Limit).

add(Rest, Bytes, More, Needs, Limit) when Bytes + More =< Limit ->
    measure(Rest, Bytes + More, Needs, Limit);
add(_Rest, _Bytes, _More, _Needs, _Limit) ->
    too_large.

push([], Rest) -> Rest;
push([Opaque | More], Rest) -> push(More, [Opaque | Rest]).
