%% Waiting is on a condition, with a deadline.
-module(await).
-export([until/1, until/2, blocked/1, blocked/2]).

%% Waits for at most two minutes.
until(Condition) -> until(Condition, 120000).

%% Waits until the function returns true; an error after so many milliseconds.
until(Condition, Milliseconds) -> until(Condition, Milliseconds, erlang:monotonic_time(millisecond) + Milliseconds).

until(Condition, Milliseconds, Deadline) ->
    case Condition() of
        true ->
            ok;
        Other ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({not_within_ms, Milliseconds, Other}),
            receive after 2 -> until(Condition, Milliseconds, Deadline) end
    end.

%% Waits until each of the processes waits for a message or has ended.
blocked(Pids) -> blocked(Pids, 120000).

blocked(Pids, Milliseconds) ->
    until(fun() -> [Pid || Pid <- Pids, runs(process_info(Pid, status))] =:= [] end, Milliseconds).

runs(undefined) -> false;
runs({status, Status}) -> Status =/= waiting.
