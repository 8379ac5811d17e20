%% Maps whose keys are atoms are flat without their keys: the name of each test is a promise of c_src/term/shapes.h. The table of shapes is the VM's, and
%% only grows: a test that counts shapes has a VM of its own.
-module(shapes_tests).
-include_lib("eunit/include/eunit.hrl").
-import(elixir_scope_capture_pipeline_nif, [term_flat/1]).
-export([counted/0, full/0, at_once/0, upgraded/0, purged_literals/0]).
-define(C, elixir_scope_capture_pipeline).
-define(NIF, elixir_scope_capture_pipeline_nif).
-define(SHAPES, 256).

%% Runs the test if terms may be flat. flat_tests checks where they must be.
flat(Test) ->
    {timeout, 900, fun() -> term_flat({a}) =:= no orelse Test() end}.

%% Runs a function of this module in a VM of its own.
in_a_vm(Function) ->
    flat(fun() ->
        Paths = lists:append([["-pa", filename:dirname(code:which(M))] || M <- [?MODULE, ?C]]),
        {ok, Vm, _} = peer:start(#{connection => standard_io, args => Paths, wait_boot => 60000}),
        try
            ?assertEqual(ok, peer:call(Vm, ?MODULE, Function, [], 100000))
        after
            peer:stop(Vm)
        end
    end).

%% The size of the flat term in bytes. Checks that the copy is equal.
bytes(Term) ->
    {ok, Bytes, Copy} = term_flat(Term),
    true = Copy =:= Term,
    true = Copy == Term,
    Bytes.

atoms(Prefix, Count) ->
    [list_to_atom(Prefix ++ integer_to_list(I)) || I <- lists:seq(1, Count)].

%% The sizes without and with the keys: the head word and the root, three words and one for each value, and a table of two
%% bytes per entry, with one entry for the map.
map(Keys, Value) -> maps:from_keys(Keys, Value).
without_keys(N) -> 16 + (3 + N) * 8 + 8.
with_keys(N) -> without_keys(N) + (1 + N) * 8.

only_the_number_of_a_shape_is_kept_test_() -> in_a_vm(counted).

counted() ->
    [
        begin
            ?assertEqual(without_keys(N), bytes(map(Keys, 1))),
            %% The same keys in another tuple.
            ?assertEqual(without_keys(N), bytes(map(lists:reverse(Keys), 2)))
        end
     || N <- [1, 2, 3, 13, 31, 32], Keys <- [atoms("key_", N)]
    ],
    %% Some keys are atoms, some are not.
    Keys = [a, b, c],
    [?assertEqual(with_keys(4), bytes(map([Other | Keys], 1))) || Other <- [1, self()]],
    %% Three maps: an address for each inner one and for each list cell, an entry for each shape.
    Nested = #{in => [#{a => 1, b => 2, c => 3}, #{a => 4, b => 5, c => 6}]},
    ?assertEqual(16 + (4 + 4 + 6 + 6) * 8 + 16, bytes(Nested)),
    ok.

a_full_table_makes_maps_carry_their_keys_test_() -> in_a_vm(full).

full() ->
    Maps = [map([Key, other, third], I) || {I, Key} <- lists:enumerate(atoms("shape_", 4 * ?SHAPES))],
    Sizes = [bytes(M) || M <- Maps],
    Without = length([S || S <- Sizes, S =:= without_keys(3)]),
    ?assertEqual([], [S || S <- Sizes, S =/= without_keys(3), S =/= with_keys(3)]),
    %% A few find no slot although the table is not full; a few were there before.
    ?assert(Without =< ?SHAPES),
    ?assert(Without > ?SHAPES - 16),
    %% It stays so.
    ?assertEqual(Sizes, [bytes(M) || M <- Maps]),
    %% A term with both kinds of maps, and a term with the same map many times.
    _ = bytes([lists:sublist(Maps, 100), lists:nthtail(4 * ?SHAPES - 50, Maps)]),
    _ = bytes([hd(Maps) || _ <- lists:seq(1, 250)]),
    Maps = delivered(Maps, delivery),
    Maps = delivered(Maps, notices),
    ok.

added_by_all_at_once_test_() -> in_a_vm(at_once).

at_once() ->
    Rounds = [[map([Key, Round], I) || {I, Key} <- lists:enumerate(atoms("key_", 16))] || Round <- atoms("round_", 14)],
    Go = counters:new(1, [atomics]),
    Everyone = fun Everyone([], _) -> ok;
                   Everyone([Maps | Rest], Round) ->
                       %% All processes begin a round together.
                       counters:add(Go, 1, 1),
                       (fun Wait() -> counters:get(Go, 1) >= 4 * Round orelse Wait() end)(),
                       [true = bytes(M) =< with_keys(2) || M <- Maps],
                       Everyone(Rest, Round + 1)
               end,
    Monitors = [element(2, spawn_monitor(fun() -> Everyone(Rounds, 1) end)) || _ <- lists:seq(1, 4)],
    [receive {'DOWN', M, process, _, Reason} -> ?assertEqual(normal, Reason) end || M <- Monitors],
    %% None was added twice: all fit, but for a few that find no slot.
    Sizes = [bytes(M) || M <- lists:append(Rounds)],
    ?assert(length([S || S <- Sizes, S =:= without_keys(2)]) > 14 * 16 - 16),
    ok.

%% Through a pipeline whose consumer is this process.
delivered(Terms, Storage) ->
    {ok, P} = ?C:start(#{batch_size => 300}, Storage),
    ok = ?C:pause(P),
    [ok = ?C:capture(P, T) || T <- Terms],
    ok = ?C:attach(P),
    ok = ?C:resume(P),
    Kept = consumer:all(P, Storage, length(Terms)),
    ok = ?C:close(P, 120000),
    Kept.

%% All structs of a batch share one tuple of keys.
a_batch_has_one_tuple_for_all_maps_of_a_shape_test_() ->
    flat(fun() ->
        Structs = [#{ok => I, error => {I}} || I <- lists:seq(1, 200)],
        [
            begin
                Kept = delivered(Structs, Storage),
                ?assertEqual(Structs, Kept),
                %% A cell, a map and a tuple each, and the keys once; without sharing three words more each.
                ?assertEqual(200 * (2 + 5 + 2) + 3, erts_debug:size(Kept))
            end
         || Storage <- [delivery, notices]
        ]
    end).

%% All kinds of maps in one batch.
every_sort_of_map_comes_back_identical_test_() ->
    flat(fun() ->
        Struct = #{'__struct__' => 'Elixir.Some', id => <<"one">>, at => 1 bsl 70, in => #{}},
        Maps = [
            Struct, #{}, #{a => #{a => #{a => #{}}}}, #{1 => a, b => c}, #{<<"k">> => v, k => <<"v">>}, #{[] => 1, a => 2}, #{1.5 => 2, a => 3},
            #{{a} => 1, a => {1}}, #{self() => 1, a => 2}, #{make_ref() => 1, a => 2}, #{Struct => Struct, k => Struct},
            #{list => [Struct, Struct | Struct], large => binary:copy(<<"x">>, 200)}, map(atoms("key_", 31), []), map(atoms("key_", 32), {})
        ],
        [_ = bytes(M) || M <- Maps, map_size(M) > 0],
        _ = bytes(Maps),
        _ = bytes(list_to_tuple(Maps ++ Maps)),
        %% Too large to be flat, and next to one that is flat.
        Many = Maps ++ [map(atoms("key_", 33), Struct), {fun() -> Struct end, Struct}] ++ Maps,
        [?assertEqual(Many, delivered(Many, Storage)) || Storage <- [delivery, notices]]
    end).

%% The maps behave as any map: matched, updated, taken apart, compared, sent, kept in a table and over garbage collections.
they_are_maps_like_any_other_test_() ->
    flat(fun() ->
        New = fun(I) -> #{'__struct__' => some, id => I, in => #{plan => free, user => {I}}} end,
        Originals = [New(I) || I <- lists:seq(1, 500)],
        Kept = delivered(Originals, notices),
        Whole = fun(Some) -> ?assert(Some =:= Originals) end,
        Whole(Kept),
        ?assertEqual(lists:seq(1, 500), [I || #{'__struct__' := some, id := I, in := #{user := {I}}} <- Kept]),
        [garbage_collect(self(), [{type, T}]) || T <- [minor, minor, major]],
        Whole(Kept),
        ?assertEqual([(New(I))#{id := x} || I <- lists:seq(1, 500)], [M#{id := x} || M <- Kept]),
        ?assertEqual([(New(I))#{new => x} || I <- lists:seq(1, 500)], [M#{new => x} || M <- Kept]),
        ?assertEqual([maps:to_list(M) || M <- Originals], [maps:to_list(M) || M <- Kept]),
        ?assertEqual([maps:remove(id, M) || M <- Originals], [maps:remove(id, M) || M <- Kept]),
        ?assertEqual(lists:sort(fun erlang:'>='/2, Originals), lists:sort(fun erlang:'>='/2, Kept)),
        ?assertEqual([erlang:phash2(M) || M <- Originals], [erlang:phash2(M) || M <- Kept]),
        ?assertEqual(term_to_binary(Originals), term_to_binary(Kept)),
        ?assertEqual(maps:from_keys(Originals, there), maps:from_keys(Kept, there)),
        Self = self(),
        Pid = spawn_link(fun() ->
            receive {kept, Sent} -> garbage_collect(), Whole(Sent), Self ! {back, Sent} end
        end),
        Pid ! {kept, Kept},
        receive {back, Back} -> Whole(Back) end,
        Table = ets:new(kept, [ordered_set]),
        true = ets:insert(Table, [{I, M} || {I, M} <- lists:enumerate(Kept)]),
        garbage_collect(),
        Whole([M || {_, M} <- ets:tab2list(Table)]),
        %% Some become garbage, some stay, and others are made in between.
        Half = lists:foldl(
            fun(N, Some) ->
                Fresh = [element(3, term_flat(M)) || M <- lists:sublist(Originals, N, 50)],
                garbage_collect(self(), [{type, case N rem 3 of 0 -> major; _ -> minor end}]),
                ?assertEqual(lists:sublist(Originals, N, 50), Fresh),
                [M || M <- Some, element(1, maps:get(user, maps:get(in, M))) > N]
            end,
            Kept,
            lists:seq(1, 100)
        ),
        ?assertEqual(lists:nthtail(100, Originals), Half)
    end).

%% Literals at the addresses of those of purged code, with other keys.
keys_are_compared_by_value_not_by_address_test_() -> in_a_vm(purged_literals).

purged_literals() ->
    lists:foreach(
        fun(I) ->
            Keys = [list_to_atom("of_" ++ integer_to_list(I rem 50)), in, a, literal],
            Map = map(Keys, I),
            Forms = [
                {attribute, 1, module, literals}, {attribute, 1, export, [{it, 0}]},
                {function, 1, it, 0, [{clause, 1, [], [], [erl_parse:abstract(Map)]}]}
            ],
            {ok, literals, Code} = compile:forms(Forms, []),
            {module, literals} = code:load_binary(literals, "literals.erl", Code),
            ?assertEqual(without_keys(4), bytes(literals:it())),
            true = code:delete(literals),
            false = code:purge(literals)
        end,
        lists:seq(1, 200)
    ),
    ok.

%% Two copies of the library have two tables, in which the same number means different shapes. The copy that captured an event reads it.
two_copies_of_the_library_do_not_mix_their_shapes_test_() -> in_a_vm(upgraded).

upgraded() ->
    Maps = fun(Prefix) -> [#{Key => Prefix, kept => I} || {I, Key} <- lists:enumerate(atoms(Prefix, 50))] end,
    Start = fun() ->
        {ok, P} = ?C:start(#{batch_size => 1000}, notices),
        ok = ?C:pause(P),
        P
    end,
    Capture = fun(P, Some) -> [ok = ?C:capture(P, M) || M <- Some] end,
    Old = Start(),
    Capture(Old, Maps("old_")),
    Copies = vm_tests:reload_from(vm_tests:copy(1)),
    ok = file:del_dir_r(Copies),
    New = Start(),
    Capture(New, Maps("new_")),
    Capture(Old, Maps("new_")),
    Capture(New, Maps("old_")),
    [
        begin
            ok = ?C:attach(P),
            ok = ?C:resume(P),
            Kept = consumer:all(P, notices, 100),
            ?assertEqual(lists:sort(Maps("old_") ++ Maps("new_")), lists:sort(Kept)),
            ok = ?C:close(P, 120000)
        end
     || P <- [Old, New]
    ],
    ok.
