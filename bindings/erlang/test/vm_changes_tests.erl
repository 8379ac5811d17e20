%% What happens to the VM while terms are captured and not yet delivered: the name of each test is a promise. Each has a VM of its own.
-module(vm_changes_tests).
-include_lib("eunit/include/eunit.hrl").
-export([reloaded/0, literals/0, persistent_terms/0, distribution/0]).
-define(C, elixir_scope_capture_pipeline).
-define(NIF, elixir_scope_capture_pipeline_nif).

in_a_vm(Function) -> in_a_vm(Function, []).

in_a_vm(Function, Arguments) ->
    {timeout, 600, fun() ->
        Paths = lists:append([["-pa", filename:dirname(code:which(M))] || M <- [?MODULE, ?C]]),
        {ok, Vm, _} = peer:start(#{connection => standard_io, args => Arguments ++ Paths, wait_boot => 120000}),
        try
            ?assertEqual(ok, peer:call(Vm, ?MODULE, Function, [], 500000))
        after
            peer:stop(Vm)
        end
    end}.

%% A term of its own, with parts of every kind: small and large numbers, binaries on and off the heap, slices of them, small and large maps.
term(N) ->
    Large = binary:copy(<<N:32, "off the heap">>, 20),
    #{
        n => N, text => "a list", big => 1 bsl (200 + N), float => N / 7, short => <<N:64>>, large => Large, slice => binary:part(Large, 5, 100),
        bits => <<N:37>>, map => maps:from_list([{I, {I, Large}} || I <- lists:seq(1, 40)]), function => fun lists:map/2,
        struct => #{'__struct__' => list_to_atom("struct_" ++ integer_to_list(N rem 10)), id => N, in => [#{}, {}, [[] | N]]}
    }.

%% Equal, and of words of its own, whatever the original lies in.
copy(Term) -> binary_to_term(term_to_binary(Term)).

%% ---- the NIF is loaded again ----

terms_outlive_a_reload_and_an_upgrade_of_the_nif_test_() -> in_a_vm(reloaded).

reloaded() ->
    Terms = [{term(N), fun() -> N end, self(), make_ref()} || N <- lists:seq(1, 30)],
    [
        begin
            Held = ways:captured(Terms),
            Then(),
            %% New terms go through the new code, while the old ones wait in pipelines and rings of the old one.
            ok = ways:through(Terms),
            ok = ways:compare(Held, Terms)
        end
     || Then <- [
            fun() -> {module, ?NIF} = code:load_file(?NIF), await:until(fun() -> code:soft_purge(?NIF) end) end,
            fun() -> Copies = vm_tests:reload_from(vm_tests:copy(1)), ok = file:del_dir_r(Copies) end
        ]
    ],
    ok.

%% ---- literals ----

a_literal_of_a_purged_module_is_delivered_unchanged_test_() -> in_a_vm(literals).

literals() ->
    Terms = [copy(without_function(N)) || N <- lists:seq(1, 8)],
    {Pid, Monitor} = spawn_monitor(fun() ->
        %% This process, which held the literals, has ended before they are purged.
        load(Terms),
        true = erts_debug:same(apply(with_literals, terms, []), apply(with_literals, terms, [])),
        exit({held, ways:captured(apply(with_literals, terms, []))})
    end),
    Held =
        receive
            {'DOWN', Monitor, process, Pid, {held, Captured}} -> Captured
        end,
    unload(),
    %% Their memory is used again, by other literals.
    [begin load([without_function(N) || N <- lists:seq(Round, Round + 7)]), unload() end || Round <- lists:seq(100, 104)],
    load([without_function(N) || N <- lists:seq(200, 207)]),
    ways:compare(Held, Terms).

%% A fun has no form that the compiler makes a literal of.
without_function(N) -> maps:remove(function, term(N)).

load(Terms) ->
    Forms = [
        {attribute, 1, module, with_literals}, {attribute, 1, export, [{terms, 0}]},
        {function, 1, terms, 0, [{clause, 1, [], [], [erl_parse:abstract(Terms)]}]}
    ],
    {ok, with_literals, Code} = compile:forms(Forms, []),
    {module, with_literals} = code:load_binary(with_literals, "with_literals.erl", Code),
    ok.

unload() ->
    true = code:delete(with_literals),
    false = code:purge(with_literals),
    ok.

%% ---- persistent terms ----

an_erased_persistent_term_is_delivered_unchanged_test_() -> in_a_vm(persistent_terms).

persistent_terms() ->
    Terms = [copy(term(N)) || N <- lists:seq(1, 30)],
    Keys = [{?MODULE, N} || N <- lists:seq(1, 30)],
    [persistent_term:put(Key, Term) || {Key, Term} <- lists:zip(Keys, Terms)],
    {Pid, Monitor} = spawn_monitor(fun() -> exit({held, ways:captured([persistent_term:get(Key) || Key <- Keys])}) end),
    Held =
        receive
            {'DOWN', Monitor, process, Pid, {held, Captured}} -> Captured
        end,
    [true = persistent_term:erase(Key) || Key <- Keys],
    %% Others take their memory, and are replaced, which frees the memory of the former ones again.
    [[persistent_term:put(Key, term(Round * 100)) || Key <- Keys] || Round <- lists:seq(1, 20)],
    ways:compare(Held, Terms).

%% ---- distribution ----

%% A node without a name gets one. The VM's own pids, references and ports stay what they are; those of other nodes too.
identifiers_are_the_same_after_distribution_has_started_test_() ->
    in_a_vm(distribution, ["-start_epmd", "false", "-erl_epmd_port", integer_to_list(free_port())]).

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

distribution() ->
    false = is_alive(),
    %% Not the journal: the external term format has the name that the node had when the term was encoded.
    Ways = [delivery, notices, written, measured],
    Before = identifiers(),
    Held = ways:captured(Before, Ways),
    {ok, _} = net_kernel:start(['late@127.0.0.1', longnames]),
    true = is_alive(),
    ok = ways:compare(Held, Before),
    %% And captured under the new name, delivered without one.
    After = identifiers(),
    ok = ways:through(Before ++ After),
    HeldAfter = ways:captured(After, Ways),
    ok = net_kernel:stop(),
    false = is_alive(),
    ways:compare(HeldAfter, After).

identifiers() ->
    Self = self(),
    Reference = make_ref(),
    {ok, Socket} = gen_udp:open(0),
    [
        Self, Reference, hd(erlang:ports()), Socket, erlang:alias(), {Self, [Reference | Self]}, #{Self => Reference, Reference => [Socket]}, fun() -> {Self, Reference} end,
        remote(<<88, 119, 5, "x@far", 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 1>>), remote(<<90, 0, 3, 119, 5, "x@far", 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3>>),
        {remote(<<89, 119, 5, "x@far", 0, 0, 0, 50, 0, 0, 0, 1>>), binary:copy(<<1>>, 100)}, ets:new(table, []), atomics:new(1, [])
    ].

remote(External) -> binary_to_term(<<131, External/binary>>).
