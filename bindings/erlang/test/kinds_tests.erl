%% Kinds of terms that the NIF API has no function for, on every path into the library: native records if the VM has them (OTP 29), and bits that
%% fill no whole byte everywhere. None of them may end the VM, and each is delivered equal to the captured term.
-module(kinds_tests).
-include_lib("eunit/include/eunit.hrl").
-define(C, elixir_scope_capture_pipeline).
-define(NIF, elixir_scope_capture_pipeline_nif).

%% A module with a native record, compiled on the VM that runs the test: older releases cannot even parse it.
records() ->
    case list_to_integer(erlang:system_info(otp_release)) >= 29 of
        true ->
            Source = [
                "-module(native_records_of_the_test).",
                "-export([new/2]).",
                "-record #point{x, y}.",
                "new(X, Y) -> #point{x = X, y = Y}."
            ],
            Forms = [
                begin
                    {ok, Tokens, _} = erl_scan:string(Line),
                    {ok, Form} = erl_parse:parse_form(Tokens),
                    Form
                end
             || Line <- Source
            ],
            {ok, Module, Beam} = compile:forms(Forms),
            {module, Module} = code:load_binary(Module, "native_records_of_the_test.erl", Beam),
            Large = binary:copy(<<"xyz">>, 5000),
            [
                Module:new(1, a),
                Module:new(Module:new(self(), make_ref()), #{k => [1.5, 1 bsl 100]}),
                Module:new(binary:part(Large, 5, 1000), fun() -> Large end),
                Module:new(<<5:3>>, lists:seq(1, 100))
            ];
        false ->
            []
    end.

terms() ->
    Bare = records() ++ [<<5:3>>, <<1:1>>, <<(binary:copy(<<"ab">>, 500))/binary, 3:7>>],
    Bare ++ lists:append([[{X, a}, [X, X], [a | X], #{k => X}, #{X => v}, fun() -> X end, {binary:copy(<<"q">>, 300), X}] || X <- Bare]).

%% Compared here, so that a failure does not print them.
same(A, B) -> A =:= B.

captured(Capture) ->
    {ok, P} = ?C:start(#{ring_bytes => 1 bsl 22}),
    ok = Capture(P),
    consumer:one(P).

are_captured_and_delivered_equal_test_() ->
    {timeout, 900, fun() ->
        [
            begin
                ?assert(same(Term, captured(fun(P) -> ?C:capture(P, Term) end))),
                ?assert(same(Term, captured(fun(P) -> ?C:capture(P, 1, Term, 2, 3) end))),
                ?assert(same(Term, captured(fun(P) -> ?C:capture_event(P, #{payload => Term}) end))),
                ?assert(
                    same(
                        Term,
                        captured(fun(P) ->
                            {ok, 1} = ?C:capture_many(P, 0, [Term]),
                            ok
                        end)
                    )
                )
            end
         || Term <- terms()
        ]
    end}.

go_through_a_ring_buffer_test() ->
    {ok, Ring} = ?NIF:ring_new(1024, drop_oldest, 1 bsl 30),
    lists:foldl(
        fun(Term, Position) ->
            ok =
                case ?NIF:ring_write(Ring, Term) of
                    opaque ->
                        {ok, Bytes, Needs} = elixir_scope_capture_pipeline_term:bound(Term, 1 bsl 30),
                        ?NIF:ring_write(Ring, Term, Bytes, Needs);
                    Answer ->
                        Answer
                end,
            {ok, Read, Next} = ?NIF:ring_read(Ring, Position),
            ?assert(same(Term, Read)),
            Next
        end,
        0,
        terms()
    ).

are_stored_in_a_database_test_() ->
    {timeout, 900, fun() ->
        Path = filename:join(os:getenv("TMPDIR", "/tmp"), "capture_kinds_" ++ os:getpid() ++ ".db"),
        {ok, P} = ?C:start(#{ring_bytes => 1 bsl 22}, {sqlite, Path, #{}}),
        Terms = terms(),
        [ok = ?C:capture(P, 1, Term) || Term <- Terms],
        ok = ?C:close(P, 120000),
        Rows = string:lexemes(os:cmd("sqlite3 " ++ Path ++ " 'select hex(payload) from events order by sequence'"), "\n"),
        [file:delete(Path ++ End) || End <- ["", "-wal", "-shm"]],
        Stored = [binary_to_term(bytes(Row)) || Row <- Rows],
        ?assertEqual(length(Terms), length(Stored)),
        [?assert(same(Term, Row)) || {Term, Row} <- lists:zip(Terms, Stored)]
    end}.

bytes(Hex) -> << <<(list_to_integer([A, B], 16))>> || <<A, B>> <= list_to_binary(Hex) >>.

%% For any nesting the size is bounded.
are_refused_where_they_are_too_large_test() ->
    {ok, P} = ?C:start(#{max_event_bytes => 4096}),
    Large = binary:copy(<<"x">>, 100000),
    Wrapped = [<<Large/binary, 1:1>>, {<<Large/binary, 1:1>>} | [setelement(1, {x}, R) || R <- large_records(Large)]],
    [?assertEqual({error, too_large}, ?C:capture(P, Term)) || Term <- Wrapped].

large_records(Large) ->
    case records() of
        [] -> [];
        _ -> [native_records_of_the_test:new(Large, 1)]
    end.
