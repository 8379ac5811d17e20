%% Flat terms: the name of each test is a promise of c_src/term/flat.h. There are none on a VM that they were not tested with, nor where
%% its layout is unknown (vm_layout); then all terms take the other path (term_tests).
-module(flat_tests).
-include_lib("eunit/include/eunit.hrl").
-import(elixir_scope_capture_pipeline_nif, [term_flat/1]).
-define(C, elixir_scope_capture_pipeline).
-define(MOST_WORDS, 2048).
-define(MOST_BYTES, 8192).

%% Runs the test if terms may be flat, and otherwise checks that none is.
flat(Test) ->
    {timeout, 900, fun() ->
        case vm_layout:may_be_flat() of
            true -> Test();
            false -> ?assertEqual(no, term_flat({a}))
        end
    end}.

comes_back(Term) ->
    case term_flat(Term) of
        {ok, Bytes, Copy} -> Copy =:= Term andalso {ok, Bytes};
        Other -> Other
    end.

the_way_and_its_reason_are_told_test() ->
    Erts = list_to_binary(erlang:system_info(version)),
    Expected =
        case {vm_layout:may_be_flat(), vm_layout:is_known()} of
            {true, true} -> #{terms => flat, reason => tested, erts => Erts};
            {false, true} -> #{terms => blocks, reason => version, erts => Erts};
            %% Of a tested version the layout is asked, and of another one nothing.
            {false, false} -> #{terms => blocks, reason => maps:get(reason, ?C:capture_info()), erts => Erts}
        end,
    ?assertEqual(Expected, ?C:capture_info()),
    ?assertEqual(vm_layout:is_flat(), term_flat({a}) =/= no).

%% The two ways in one VM, of which a pipeline takes one.
a_pipeline_may_rule_flat_terms_out_test_() ->
    flat(fun() ->
        Terms = [{I, [{<<"a">>, I}], #{k => I}} || I <- lists:seq(1, 100)],
        Charged = fun(Config) ->
            {ok, P} = ?C:start(Config, notices),
            [ok = ?C:capture(P, T) || T <- Terms],
            {ok, #{bytes_captured := Bytes}} = ?C:metrics(P),
            ?assertEqual({error, {badarg, terms}}, ?C:update(P, #{terms => fastest})),
            ok = ?C:attach(P),
            ?assertEqual(Terms, consumer:all(P, notices, 100)),
            ok = ?C:close(P, 5000),
            Bytes
        end,
        %% A block is charged with the sizes, a flat term with its head and its table too, but not with the keys.
        Sizes = lists:sum([8 * erts_debug:flat_size(T) || T <- Terms]),
        ?assertEqual(Sizes, Charged(#{terms => blocks})),
        ?assertEqual(Charged(#{}), Charged(#{terms => fastest})),
        ?assertNotEqual(Sizes, Charged(#{}))
    end).

every_sort_of_term_comes_back_identical_test_() ->
    flat(fun() ->
        Large = binary:copy(<<"abc">>, 50),
        <<_:3, Unaligned:100/binary, _/bitstring>> = Large,
        Terms = [
            {1}, [1], [1 | 2], {{}}, {[]}, [[], [[]], {[]}], {#{}}, #{a => 1}, #{a => #{b => #{}}}, {1.5, -0.0}, {1 bsl 59, 1 bsl 60},
            {1 bsl 64, -(1 bsl 200)}, 1.5, 1 bsl 70, <<>>, <<1>>, {<<>>, <<1>>}, binary:copy(<<1>>, 64), make_ref(), {make_ref(), self()},
            {hd(erlang:ports())}, {Large}, [Large, Large | Large], {binary:part(Large, 1, 70)}, {binary:part(Large, 1, 5)},
            {binary:part(Large, 1, 0)}, {Unaligned}, #{Large => Unaligned}, "a string", lists:seq(1, 1000),
            maps:from_list([{I, {I}} || I <- lists:seq(1, 32)]), #{1 => a, 1.0 => b, {1} => c, [1] => d, <<1>> => e, #{} => f},
            #{literal => {"in the module", [<<"of this test">>, 1.5]}}
        ],
        [?assertMatch({T, {ok, _}}, {T, comes_back(T)}) || T <- Terms],
        ?assertMatch({ok, _}, comes_back(list_to_tuple([T || T <- Terms, T =/= lists:seq(1, 1000)])))
    end).

a_term_that_only_the_vm_can_copy_is_not_made_flat_test_() ->
    flat(fun() ->
        X = self(),
        Terms = [
            fun() -> X end, fun lists:map/2, atomics:new(1, []), erlang:alias(),
            binary_to_term(<<131, 88, 119, 5, "x@far", 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 1>>),
            maps:from_list([{I, I} || I <- lists:seq(1, 33)])
        ],
        [?assertEqual({T, no}, {T, term_flat(Wrapped)}) || T <- Terms, Wrapped <- [T, {T}, [a, T], #{k => T}]],
        %% A short bitstring is a run of words from OTP 27 on, and a slice before.
        [
            case vm_layout:has_heap_bits() of
                true -> ?assertMatch({T, {ok, _}}, {T, comes_back(T)});
                false -> ?assertEqual({T, no}, {T, term_flat(T)})
            end
         || Bits <- [<<5:3>>, <<1:100, 5:3>>], T <- [Bits, {Bits}, [a, Bits], #{k => Bits}]
        ],
        %% Terms that need no flat form.
        [?assertEqual(no, term_flat(T)) || T <- [a, 1, [], self(), {}, #{}]]
    end).

up_to_the_limits_exactly_test_() ->
    flat(fun() ->
        ?assertMatch({ok, _}, comes_back(lists:seq(1, ?MOST_WORDS div 2))),
        ?assertEqual(no, term_flat(lists:seq(1, ?MOST_WORDS div 2 + 1))),
        ?assertMatch({ok, _}, comes_back(erlang:make_tuple(?MOST_WORDS - 1, a))),
        ?assertEqual(no, term_flat(erlang:make_tuple(?MOST_WORDS, a))),
        ?assertMatch({ok, _}, comes_back(1 bsl ((?MOST_WORDS - 1) * 64 - 1))),
        ?assertEqual(no, term_flat(1 bsl ((?MOST_WORDS - 1) * 64))),
        %% A binary takes eight bytes more than its own.
        ?assertMatch({ok, _}, comes_back({binary:copy(<<1>>, ?MOST_BYTES - 8)})),
        ?assertEqual(no, term_flat({binary:copy(<<1>>, ?MOST_BYTES - 7)})),
        Small = binary:copy(<<1>>, 120),
        ?assertMatch({ok, _}, comes_back(lists:duplicate(?MOST_BYTES div 128, Small))),
        ?assertEqual(no, term_flat(lists:duplicate(?MOST_BYTES div 128 + 1, Small))),
        %% The maximum of inserts and addresses.
        ?assertMatch({ok, _}, comes_back(list_to_tuple(lists:duplicate(?MOST_BYTES div 8, #{})))),
        ?assertEqual(no, term_flat(list_to_tuple(lists:duplicate(?MOST_BYTES div 8 + 1, #{})))),
        ?assertMatch({ok, _}, comes_back(list_to_tuple(lists:duplicate(682, [a])))),
        %% Nesting in the first element needs a place on the stack for each level, nesting in the last element none.
        Left = fun(N) -> lists:foldl(fun(_, T) -> {T, a} end, {a}, lists:seq(1, N)) end,
        Right = fun(N) -> lists:foldl(fun(_, T) -> {a, T} end, {a}, lists:seq(1, N)) end,
        ?assertMatch({ok, _}, comes_back(Left(64))),
        ?assertEqual(no, term_flat(Left(65))),
        ?assertMatch({ok, _}, comes_back(Right(600))),
        ?assertEqual(no, term_flat(lists:seq(1, 5000000)))
    end).

random_terms_come_back_identical_or_not_at_all_test_() ->
    flat(fun() ->
        rand:seed(exsss, {3, 2, 1}),
        Answers = [
            begin
                Term = random_terms:random(5),
                Answer = comes_back(Term),
                ?assertNotEqual({N, Term, false}, {N, Term, Answer}),
                Answer
            end
         || N <- lists:seq(1, 3000)
        ],
        ?assert(length([ok || {ok, _} <- Answers]) > 500)
    end).

%% Copies survive among other terms, in heaps and in messages, while these are collected and moved.
the_collector_takes_them_as_any_term_test_() ->
    flat(fun() ->
        Original = #{n => 1, list => [{<<"short">>, 1.5}, make_ref(), #{}], large => binary:copy(<<"x">>, 100)},
        Copies = fun(N) -> [element(3, {ok, _, _} = term_flat(Original#{n := I})) || I <- lists:seq(1, N)] end,
        Right = fun(Kept) -> lists:all(fun(#{n := I} = T) -> T =:= Original#{n := I} end, Kept) end,
        Rounds = fun Rounds(0, Kept, _) -> Right(Kept);
                     Rounds(N, Kept, Type) ->
                         Fresh = Copies(200),
                         true = erlang:garbage_collect(self(), [{type, Type}]),
                         Mixed = lists:sublist(Fresh, 20) ++ lists:sublist(Kept, 300),
                         Right(Mixed) andalso Rounds(N - 1, Mixed, Type)
                 end,
        Self = self(),
        Inside = fun(Options) ->
            {Pid, Monitor} = spawn_opt(
                fun() ->
                    true = Rounds(30, [], minor),
                    true = Rounds(10, [], major),
                    %% As a message, and copied again from there.
                    Self ! {copies, Copies(500)}
                end,
                [monitor | Options]
            ),
            receive
                {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason)
            end,
            receive
                {copies, Sent} -> ?assert(Right(Sent))
            end
        end,
        [Inside(Options) || Options <- [[], [{min_heap_size, 300000}], [{fullsweep_after, 0}], [{message_queue_data, off_heap}]]],
        Table = ets:new(kept, []),
        true = ets:insert(Table, [{I, T} || {I, T} <- lists:enumerate(Copies(100))]),
        ?assert(Right([T || {_, T} <- ets:tab2list(Table)])),
        erlang:garbage_collect()
    end).

%% Flat terms and handles in one batch, as a message and as a notice, kept over garbage collections.
delivered_terms_stay_valid_test_() ->
    flat(fun() ->
        Terms = [
            case I rem 3 of
                0 -> {flat, I, #{i => I}, <<I:64>>};
                1 -> {block, I, fun() -> I end};
                2 -> [I, binary:copy(<<I:16>>, 60) | tail]
            end
         || I <- lists:seq(1, 300)
        ],
        [?assertEqual(Terms, delivered(Storage, Terms)) || Storage <- [delivery, notices]]
    end).

delivered(Storage, Terms) ->
    {ok, P} = ?C:start(#{batch_size => 100}, Storage),
    [ok = ?C:capture(P, T) || T <- Terms],
    ok = ?C:attach(P),
    Kept = consumer:all(P, Storage, length(Terms)),
    await:until(fun() -> stored(P) =:= length(Terms) end),
    ok = ?C:close(P, 120000),
    true = erlang:garbage_collect(),
    Kept.

stored(P) ->
    {ok, #{stored := Stored}} = ?C:metrics(P),
    Stored.

%% A ring is charged with the head word, the root, the words of the heap and the table. There is no allocation.
a_ring_is_charged_with_the_memory_of_its_terms_test_() ->
    flat(fun() ->
        Term = {event, <<"eight ch">>, [1, 2]},
        {ok, Bytes, Term} = term_flat(Term),
        %% Three addresses among the words: the binary, the list, its second cell.
        ?assertEqual(16 + erts_debug:flat_size(Term) * 8 + 8, Bytes),
        {ok, P} = ?C:start(#{}, notices),
        ok = ?C:capture(P, Term),
        ?assertMatch({ok, #{bytes_captured := Bytes, captured := 1}}, ?C:metrics(P)),
        ok = ?C:attach(P),
        {ok, [{Term, _, _, _, 0, 0, 0}]} =
            receive
                {capture_batch, P, Token, _, 1, 1, _} ->
                    Events = ?C:events(P, Token),
                    ok = ?C:complete(P, Token, ok),
                    {ok, Events}
            end,
        ok = ?C:close(P, 120000)
    end).
