%% Snapshots: the last events of a capture that stores nothing, written while it goes on, and by rules that ask for it.
-module(snapshot_tests).

-include_lib("eunit/include/eunit.hrl").

-define(C, elixir_scope_capture_pipeline).

started() ->
    {ok, P} = ?C:start(#{overflow => drop_oldest}),
    ok = ?C:pause(P),
    P.

directory() ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "capture-snapshot-" ++ os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:make_dir(Path),
    Path.

remove(Path) ->
    [ok = file:delete(File) || File <- filelib:wildcard(filename:join(Path, "*"))],
    ok = file:del_dir(Path).

segments(Path) ->
    length(filelib:wildcard(filename:join(Path, "*.journal"))).

until(Condition) -> until(Condition, erlang:monotonic_time(millisecond) + 60000).
until(Condition, Deadline) ->
    case Condition() of
        true -> ok;
        false -> true = erlang:monotonic_time(millisecond) < Deadline, timer:sleep(5), until(Condition, Deadline)
    end.

what_lies_in_the_rings_is_written_and_stays_there_test() ->
    {P, Dir} = {started(), directory()},
    try
        [ok = ?C:capture(P, 7, <<N:64/little>>) || N <- lists:seq(1, 100)],
        {ok, #{events := 100, left_out := 0, segment := First, generation := Run}} = ?C:snapshot(P, Dir),
        {ok, #{events := 100, segment := Second, generation := Run, took_ns := Took}} = ?C:snapshot(P, list_to_binary(Dir)),
        ?assert(Second > First andalso Took > 0),
        ?assertEqual(2, segments(Dir)),
        {error, {storage, Text}} = ?C:snapshot(P, Dir ++ "/none/here"),
        ?assertMatch({_, _}, binary:match(Text, <<"none/here">>)),
        {error, {badarg, path}} = ?C:snapshot(P, 7)
    after
        remove(Dir)
    end.

a_rule_asks_for_a_snapshot_test() ->
    {P, Dir} = {started(), directory()},
    try
        ok = ?C:set_rules(P, [#{name => asks, snapshot => true, kinds => [9]}]),
        ok = ?C:snapshot_on_trigger(P, Dir),
        ok = ?C:capture(P, 8, <<>>),
        ok = ?C:capture(P, 9, <<>>),
        until(fun() -> segments(Dir) =:= 1 end),
        {ok, [#{snapshots_asked := 1}]} = ?C:rules(P),
        ok = ?C:snapshot_on_trigger(P, none),
        {error, {storage, _}} = ?C:snapshot_on_trigger(P, Dir ++ "/none/here"),
        {error, {badarg, path}} = ?C:snapshot_on_trigger(P, 7)
    after
        remove(Dir)
    end.
