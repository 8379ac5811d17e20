%% Waiting is on a condition, with a deadline.
-module(await).
-export([until/1, until/2]).

%% Within five seconds.
until(Condition) -> until(Condition, 5000).

%% Until the function answers true; an error if it has not within so many milliseconds.
until(Condition, Milliseconds) -> until(Condition, Milliseconds, erlang:monotonic_time(millisecond) + Milliseconds).

until(Condition, Milliseconds, Deadline) ->
    case Condition() of
        true ->
            ok;
        Other ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({not_within_ms, Milliseconds, Other}),
            receive after 2 -> until(Condition, Milliseconds, Deadline) end
    end.
