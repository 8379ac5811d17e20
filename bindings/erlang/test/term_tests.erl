%% The bounded walk through a term, and the copy that pins nothing: the name of each test is a promise of c_src/term/walk.h and copy.h.
-module(term_tests).
-include_lib("eunit/include/eunit.hrl").
-import(elixir_scope_capture_pipeline_nif, [term_walk/2, ring_new/3, ring_write/2, ring_write/4, ring_read/2]).
-import(elixir_scope_capture_pipeline_term, [bound/2]).

-define(REBUILD, 1).
-define(OPAQUE, 2).
-define(MEGABYTE, 1048576).

%% Through a ring and back.
copy(Term) ->
    {ok, Ring} = ring_new(1, drop_oldest, 1 bsl 40),
    ok =
        case ring_write(Ring, Term) of
            opaque ->
                {ok, Bytes, Needs} = bound(Term, 1 bsl 40),
                ring_write(Ring, Term, Bytes, Needs);
            Answer ->
                Answer
        end,
    {ok, Copy, 1} = ring_read(Ring, 0),
    Copy.

%% If the layout is unknown, the size may be as if every integer were a large one and every binary off the heap.
is_sized(Term, Bytes, Needs) ->
    Flat = erts_debug:flat_size(Term) * 8,
    case vm_layout:is_known() of
        true -> ?assertEqual({Term, Flat, 0}, {Term, Bytes, Needs});
        false -> ?assert(Bytes >= Flat andalso Bytes =< 64 + Flat * 3 andalso Needs band (bnot ?REBUILD) =:= 0, {Term, Bytes, Flat})
    end.

sized_exactly_without_opaque_parts_test() ->
    Terms = [
        1, a, [], {1, 2, 3}, [1, 2, 3], [1 | 2], {[{[{1}]}]}, 1.5, 1 bsl 63, 1 bsl 64, -(1 bsl 100), 1 bsl 100000,
        <<>>, <<1>>, binary:copy(<<1>>, 63), binary:copy(<<1>>, 64), #{a => 1}, #{a => {1}, {b} => []},
        maps:from_list([{I, {I}} || I <- lists:seq(1, 32)]), self(), hd(erlang:ports()), "a string", [[[[]]], [1 | 2]]
    ],
    [
        begin
            {Bytes, Needs, []} = term_walk(binary_to_term(term_to_binary(T)), 1 bsl 30),
            is_sized(T, Bytes, Needs)
        end
     || T <- Terms
    ].

sized_within_a_third_where_the_vm_does_not_tell_test() ->
    Most = case vm_layout:is_known() of true -> 4 / 3; false -> 3 end,
    [
        begin
            {Bytes, _, []} = term_walk(T, 1 bsl 30),
            Flat = erts_debug:flat_size(T) * 8,
            ?assert(Bytes >= Flat andalso Bytes =< 100 + Flat * Most, {Bytes, Flat})
        end
     || T <- [make_ref(), maps:from_list([{I, I} || I <- lists:seq(1, 33)]), maps:from_list([{{I}, [I]} || I <- lists:seq(1, 10000)])]
    ].

off_heap_binaries_are_in_the_size_and_to_be_rebuilt_test() ->
    Large = binary:copy(<<7>>, 100000),
    {Bytes, ?REBUILD, []} = term_walk({Large, Large}, 1 bsl 30),
    ?assert(Bytes > 200000 andalso Bytes < 201000),
    <<_, Slice:70/binary, _/binary>> = Large,
    {Small, ?REBUILD, []} = term_walk(Slice, 1 bsl 30),
    ?assert(Small < 200).

funs_and_odd_bitstrings_are_opaque_test() ->
    Fun = fun() -> self() end,
    {_, ?OPAQUE, [Fun]} = term_walk({Fun, 1}, ?MEGABYTE),
    Odd = <<(binary:copy(<<"ab">>, 500))/binary, 5:3>>,
    {_, ?OPAQUE, [Odd]} = term_walk([Odd], ?MEGABYTE),
    {_, ?OPAQUE, Both} = term_walk([Odd, #{f => Fun}], ?MEGABYTE),
    ?assertEqual(2, length(Both)),
    %% A short one lies on the heap as a short binary does from OTP 27 on. Before, it is a slice.
    case vm_layout:is_known() andalso vm_layout:has_heap_bits() of
        true -> ?assertMatch({_, 0, []}, term_walk([<<5:3>>], ?MEGABYTE));
        false -> ?assertMatch({_, ?OPAQUE, [<<5:3>>]}, term_walk([<<5:3>>], ?MEGABYTE))
    end.

the_environment_of_a_fun_is_bounded_test() ->
    Environment = lists:duplicate(1000, a),
    Fun = fun() -> Environment end,
    {ok, Bytes, ?OPAQUE} = bound({Fun}, ?MEGABYTE),
    ?assert(Bytes > 16000 andalso Bytes < 17000),
    ?assertEqual(too_large, bound({Fun}, 10000)),
    Nested = lists:foldl(fun(_, F) -> fun() -> {F, Environment} end end, Fun, lists:seq(1, 50)),
    {ok, More, ?OPAQUE} = bound(Nested, ?MEGABYTE),
    ?assert(More > 51 * 16000),
    ?assertEqual(too_large, bound([Nested, Nested], ?MEGABYTE)),
    {ok, _, ?OPAQUE} = bound(fun lists:map/2, ?MEGABYTE),
    Slice = binary:part(binary:copy(<<1>>, 1000), 5, 500),
    {ok, _, Needs} = bound(fun() -> Slice end, ?MEGABYTE),
    ?assertEqual(4, Needs band 4),
    ?assertEqual(too_large, bound(<<0:80000001>>, ?MEGABYTE)).

stops_at_the_limit_exactly_test() ->
    Terms = [[1, 2, 3], {1, {2, 3}}, #{a => [1]}, <<1, 2, 3>>, 1.5, binary:copy(<<1>>, 100), maps:from_list([{I, I} || I <- lists:seq(1, 40)])],
    [
        begin
            {Bytes, Needs, []} = term_walk(T, 1 bsl 30),
            ?assertEqual({Bytes, Needs, []}, term_walk(T, Bytes)),
            ?assertEqual(too_large, term_walk(T, Bytes - 1)),
            ?assertEqual(too_large, term_walk(T, 0))
        end
     || T <- Terms
    ],
    ?assertEqual({0, 0, []}, term_walk(a, 0)),
    ?assertEqual({error, badarg}, term_walk(a, -1)),
    ?assertEqual({error, badarg}, term_walk(a, b)).

huge_terms_are_left_at_the_limit_test_() ->
    {timeout, 900, fun() ->
        Deep = lists:foldl(fun(_, T) -> [T] end, [], lists:seq(1, 10000000)),
        ?assertEqual(too_large, term_walk(Deep, ?MEGABYTE)),
        ?assertEqual(too_large, term_walk({Deep}, ?MEGABYTE)),
        Tuples = lists:foldl(fun(I, T) -> {I, T} end, [], lists:seq(1, 3000000)),
        ?assertEqual(too_large, term_walk(Tuples, ?MEGABYTE)),
        ?assertEqual(too_large, term_walk(lists:seq(1, 6000000), ?MEGABYTE)),
        ?assertEqual(too_large, term_walk(binary:copy(<<1>>, 100000000), ?MEGABYTE)),
        ?assertEqual(too_large, term_walk(binary:part(binary:copy(<<1>>, 100000000), 3, 90000000), ?MEGABYTE)),
        <<_:3, Unaligned:90000000/binary, _/bitstring>> = binary:copy(<<1>>, 100000000),
        ?assertEqual(too_large, term_walk({Unaligned}, ?MEGABYTE)),
        %% Since OTP 27 no integer has more than 4,194,303 bits.
        ?assertEqual(too_large, term_walk(1 bsl 4000000, ?MEGABYTE div 4)),
        ?assertEqual(too_large, term_walk(maps:from_list([{I, I} || I <- lists:seq(1, 300000)]), ?MEGABYTE)),
        ?assertEqual(too_large, term_walk(erlang:make_tuple(10000000, a), ?MEGABYTE)),
        Doubled = lists:foldl(fun(_, T) -> {T, T} end, {}, lists:seq(1, 100)),
        ?assertEqual(too_large, term_walk(Doubled, ?MEGABYTE))
    end}.

deep_terms_within_the_limit_are_copied_test_() ->
    {timeout, 900, fun() ->
        Slice = binary:part(binary:copy(<<1>>, 1000), 5, 100),
        [
            begin
                Deep = lists:foldl(Wrap, End, lists:seq(1, 100000)),
                ?assert(same(copy(Deep), Deep))
            end
         || End <- [[], Slice, fun() -> ok end],
            Wrap <- [fun(_, T) -> [T] end, fun(I, T) -> {I, T} end, fun(I, T) -> #{I => T} end, fun(_, T) -> [a | T] end, fun(_, T) -> [T | a] end]
        ]
    end}.

%% =:= handles deep terms. A function of its own, so that a failure does not print the term.
same(A, B) -> A =:= B.

every_type_comes_back_identical_test_() ->
    {timeout, 900, fun() ->
        X = {self(), <<1, 2>>},
        Big = binary:copy(<<"abc">>, 1000),
        Terms = [
            a, 1, -1, 1 bsl 59, 1 bsl 60, 1 bsl 64, -(1 bsl 200), 1.5, -0.0, [], {}, <<>>, #{}, [1 | 2], [[], [[]], {[]}],
            self(), make_ref(), hd(erlang:ports()), Big, binary:part(Big, 1, 70), binary:part(Big, 1, 5), binary:part(Big, 1, 0),
            <<1:1>>, <<5:3, Big/binary>>, fun() -> X end, fun lists:map/2, fun(A) -> {A, Big, X} end,
            remote_pid(), remote_ref(), remote_port(), erlang:alias(), ets:new(t, []), atomics:new(1, []),
            maps:from_list([{I, Big} || I <- lists:seq(1, 32)]), maps:from_list([{I, {I, Big}} || I <- lists:seq(1, 5000)]),
            #{1 => a, 1.0 => b, {1} => c, [1] => d, <<1>> => e, #{} => f, Big => g, fun() -> X end => h},
            [Big | binary:part(Big, 10, 100)], {a, [{b, Big}, #{c => [Big | d]}]}
        ],
        [?assert(same(copy(T), T), {type, lists:sublist(lists:flatten(io_lib:format("~P", [T, 10])), 100)}) || T <- Terms],
        Everything = list_to_tuple(Terms),
        ?assert(same(copy(Everything), Everything)),
        <<_:3, Unaligned:500/binary, _/bitstring>> = Big,
        ?assert(same(copy(Unaligned), Unaligned)),
        ?assert(same(copy({Unaligned, Big}), {Unaligned, Big}))
    end}.

remote_pid() -> binary_to_term(<<131, 88, 119, 5, "x@far", 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 1>>).
remote_ref() -> binary_to_term(<<131, 90, 0, 3, 119, 5, "x@far", 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3>>).
remote_port() -> binary_to_term(<<131, 89, 119, 5, "x@far", 0, 0, 0, 50, 0, 0, 0, 1>>).

random_terms_come_back_identical_test_() ->
    {timeout, 900, fun() ->
        rand:seed(exsss, {1, 2, 3}),
        [
            begin
                Term = random_terms:random(6),
                ?assert(same(copy(Term), Term), {N, Term}),
                case term_walk(Term, 1 bsl 40) of
                    {Bytes, 0, []} -> ?assert(Bytes >= erts_debug:flat_size(Term) * 8);
                    {_, _, _} -> ok
                end
            end
         || N <- lists:seq(1, 1000)
        ]
    end}.

%% Holds slices of a hundred megabytes of binaries, but not these.
a_copy_pins_no_parent_test_() ->
    {timeout, 900, fun() ->
        Before = vm_memory:held(binary),
        {ok, Ring} = ring_new(64, drop_oldest, ?MEGABYTE),
        spawn_and_wait(fun() ->
            Parent = binary:copy(<<1, 2, 3>>, 10000000),
            Slices = [binary:part(Parent, N * 100, N) || N <- [1, 10, 63, 64, 65, 200]],
            [ok = ring_write(Ring, Wrap(S)) || S <- Slices, Wrap <- [fun(T) -> T end, fun(T) -> {a, [T]} end, fun(T) -> #{T => T} end]],
            Fun = fun() -> Slices end,
            {ok, Bytes, Needs} = bound(Fun, ?MEGABYTE),
            ok = ring_write(Ring, Fun, Bytes, Needs),
            <<_:3, Odd:203/bitstring, _/bitstring>> = Parent,
            {ok, OddBytes, OddNeeds} = bound({Odd}, ?MEGABYTE),
            ok = ring_write(Ring, {Odd}, OddBytes, OddNeeds)
        end),
        %% The memory of a dead process is freed a little after the message about its death.
        await:until(fun() -> vm_memory:held(binary) - Before < 5000000 end),
        {ok, Fun, _} = ring_read(Ring, 18),
        ?assertEqual(6, length(Fun()))
    end}.

spawn_and_wait(Fun) ->
    {Pid, Monitor} = spawn_monitor(Fun),
    receive
        {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason)
    end.
