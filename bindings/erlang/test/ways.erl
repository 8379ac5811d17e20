%% Every way in which a term is captured, kept and delivered, in two steps: captured/1, and compare/2 some time later. What happens to the VM in
%% between must not change the term.
-module(ways).
-export([captured/1, captured/2, compare/2, through/1]).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).
-define(NIF, elixir_scope_capture_pipeline_nif).
-define(LIMIT, (1 bsl 24)).

%% Captured and compared at once.
through(Terms) -> compare(captured(Terms), Terms).

%% Captures each of the terms in each way. Nothing that is returned refers to a term.
captured(Terms) -> captured(Terms, [delivery, notices, journal, written, measured]).

captured(Terms, Ways) -> [{Way, captured_by(Way, Terms)} || Way <- Ways].

captured_by(journal, Terms) -> journal(Terms);
captured_by(written, Terms) -> ring(fun written/2, Terms);
captured_by(measured, Terms) -> ring(fun measured/2, Terms);
captured_by(Storage, Terms) -> pipeline(Storage, Terms).

%% ---- captures ----

pipeline(Storage, Terms) ->
    {ok, P} = ?C:start(#{batch_size => 100, ring_bytes => 1 bsl 28, priority_ring_bytes => 1 bsl 28, max_event_bytes => ?LIMIT}, Storage),
    ok = ?C:pause(P),
    [ok = Capture(P, Term) || Capture <- captures(), Term <- Terms],
    {ok, _} = ?C:capture_many(P, 0, Terms),
    P.

captures() ->
    [
        fun ?C:capture/2,
        fun(P, Term) -> ?C:capture(P, 1, Term, 2, 3) end,
        fun(P, Term) -> ?C:capture_event(P, #{payload => Term, priority => true}) end,
        fun(P, Term) -> ?C:capture_wait(P, 1, Term, infinity) end,
        %% As a term that native code cannot measure.
        fun(P, Term) ->
            {ok, Bytes, Needs} = elixir_scope_capture_pipeline_term:bound(Term, ?LIMIT),
            ?NIF:capture_bound(P, Term, 0, 0, 0, 0, 0, Bytes, Needs)
        end
    ].

%% In the external term format.
journal(Terms) ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "capture_ways_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive])) ++ ".d"),
    {ok, P} = ?C:start(#{writers => 1, ring_bytes => 1 bsl 28, max_event_bytes => ?LIMIT}, {journal, Path, #{}}),
    on_one_scheduler(fun() -> [ok = ?C:capture_wait(P, 1, Term, infinity) || Term <- Terms] end),
    {P, Path}.

%% So that one ring has all events, in their order. The process that waits here is not the one that captured the terms.
on_one_scheduler(Fun) ->
    {Pid, Monitor} = spawn_opt(Fun, [monitor, {scheduler, 1}]),
    receive
        {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason)
    end.

ring(Write, Terms) ->
    {ok, Ring} = ?NIF:ring_new(1 bsl 12, drop_newest, ?LIMIT),
    [ok = Write(Ring, Term) || Term <- Terms],
    Ring.

written(Ring, Term) ->
    case ?NIF:ring_write(Ring, Term) of
        opaque -> measured(Ring, Term);
        Answer -> Answer
    end.

measured(Ring, Term) ->
    {ok, Bytes, Needs} = elixir_scope_capture_pipeline_term:bound(Term, ?LIMIT),
    ?NIF:ring_write(Ring, Term, Bytes, Needs).

%% ---- deliveries ----

compare(Held, Terms) ->
    [ok = compare(Way, In, Terms) || {Way, In} <- Held],
    ok.

compare(journal, {Journal, Path}, Terms) ->
    ok = ?C:close(Journal, 60000),
    Payloads = [Payload || {1, 0, 0, Payload} <- journal_tests:read(Path)],
    ok = file:del_dir_r(Path),
    ?assertEqual(length(Terms), length(Payloads)),
    same(journal, Terms, [if is_binary(Term) -> Payload; true -> binary_to_term(Payload) end || {Term, Payload} <- lists:zip(Terms, Payloads)]);
compare(Storage, P, Terms) when Storage =:= delivery; Storage =:= notices ->
    same(Storage, repeated(length(captures()) + 1, Terms), delivered(P, Storage));
compare(Write, Ring, Terms) ->
    same({Write, read_batch}, Terms, read_batches(Ring, 0)),
    same({Write, read}, Terms, [element(2, {ok, _, _} = ?NIF:ring_read(Ring, At)) || At <- lists:seq(0, length(Terms) - 1)]),
    ?NIF:ring_destroy(Ring).

%% A batch has some of the events.
read_batches(Ring, From) ->
    case ?NIF:ring_read_batch(Ring, From, 1 bsl 12) of
        {[], From, From} -> [];
        {Batch, From, Next} when Next > From -> Batch ++ read_batches(Ring, Next)
    end.

repeated(Times, Terms) -> lists:append(lists:duplicate(Times, Terms)).

%% In the order of capture. Each batch is refused once, and delivered again.
delivered(P, Storage) ->
    ok = ?C:attach(P),
    ok = ?C:resume(P),
    {ok, #{captured := Count}} = ?C:metrics(P),
    All = batches(P, Storage, Count, #{}, []),
    ok = ?C:close(P, 60000),
    garbage_collect(),
    [Payload || {_Time, _Ring, _Sequence, Payload} <- lists:sort(fun(A, B) -> at(A) =< at(B) end, All)].

at({Time, Ring, Sequence, _}) -> {Time, Ring, Sequence}.

batches(_P, _Storage, 0, _First, All) ->
    All;
batches(P, Storage, Left, First, All) ->
    receive
        {capture_batch, P, Token, _, Attempt, Given, _} ->
            Told =
                case Storage of
                    delivery -> Given;
                    notices -> ?C:events(P, Token)
                end,
            Events = [{Time, Ring, Sequence, Payload} || {Payload, Ring, Sequence, Time, _, _, _} <- Told],
            case Attempt of
                1 ->
                    ok = ?C:complete(P, Token, retry),
                    batches(P, Storage, Left, maps:merge(First, maps:from_list([{at(E), E} || E <- Events])), All);
                _ ->
                    %% What came the first time is valid although the batch was taken away.
                    same(again, [maps:get(at(E), First) || E <- Events], Events),
                    ok = ?C:complete(P, Token, ok),
                    batches(P, Storage, Left - length(Events), First, Events ++ All)
            end
    after 60000 -> error({missing, Left})
    end.

%% `=:=' handles terms of every depth. A failure shows the beginning of the first pair that differs.
same(Way, Terms, Delivered) ->
    ?assertEqual({Way, length(Terms)}, {Way, length(Delivered)}),
    [
        ?assert(A =:= B, {Way, N, io_lib:format("~P is not ~P", [A, 12, B, 12])})
     || {N, A, B} <- lists:zip3(lists:seq(1, length(Terms)), Terms, Delivered)
    ],
    ok.
