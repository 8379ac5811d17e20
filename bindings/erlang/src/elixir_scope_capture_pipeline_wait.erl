%% @private
%% Waiting in the calling process: for the answer of a native thread, and for space in a ring. No scheduler waits.
-module(elixir_scope_capture_pipeline_wait).

-export([started/1, settled/4, for_space/3]).

-define(NIF, elixir_scope_capture_pipeline_nif).
%% The longest timeout of `receive'.
-define(LONGEST, 16#FFFFFFFF).
%% Milliseconds after which a process that waits for space tries again without a message.
-define(WAIT_STEP, 10).

%% The answer to a start. A native thread opens a database, because that may wait.
-spec started({wait, reference()} | Answer) -> Answer when Answer :: term().
started({wait, Ref}) ->
    receive
        {capture_settled, Ref, Answer} -> Answer
    end;
started(Answer) ->
    Answer.

%% The answer to a flush or a close, which a native thread sends; after the timeout and the grace, that of pipeline_forget.
-spec settled(reference(), {wait, reference()} | Answer, term(), non_neg_integer()) -> Answer when Answer :: term().
settled(Pipeline, {wait, Ref}, Timeout, Grace) ->
    receive
        {capture_settled, Ref, Answer} -> Answer
    after patience(Timeout, Grace) ->
        case ?NIF:pipeline_forget(Pipeline, Ref) of
            sent ->
                receive
                    {capture_settled, Ref, Answer} -> Answer
                end;
            Answer ->
                Answer
        end
    end;
settled(_Pipeline, Answer, _Timeout, _Grace) ->
    Answer.

patience(Timeout, Grace) when is_integer(Timeout) -> min(max(0, Timeout) + Grace, ?LONGEST);
patience(_Timeout, _Grace) -> infinity.

%% Captures, and while the ring is full waits for space and tries again.
-spec for_space(reference(), fun(() -> Answer), term()) -> Answer when Answer :: ok | {error, atom()}.
for_space(Pipeline, Capture, Timeout) ->
    case Capture() of
        {error, full} when Timeout =:= infinity ->
            wait_until(Pipeline, Capture, infinity);
        {error, full} when is_integer(Timeout), Timeout > 0 ->
            wait_until(Pipeline, Capture, erlang:monotonic_time(millisecond) + Timeout);
        Answer ->
            Answer
    end.

wait_until(Pipeline, Capture, Until) ->
    %% First the place in the queue, then another attempt: so events that leave in between are not missed.
    Place = ?NIF:delivery_wait(Pipeline),
    case Capture() of
        {error, full} = Full ->
            Left = left(Until),
            wait_in(Pipeline, Place, Left),
            case Left of
                0 -> Full;
                _ -> wait_until(Pipeline, Capture, Until)
            end;
        Answer ->
            wait_in(Pipeline, Place, 0),
            Answer
    end.

left(infinity) -> ?WAIT_STEP;
left(Until) -> max(0, min(?WAIT_STEP, Until - erlang:monotonic_time(millisecond))).

%% Waits for the message or the timeout. Leaves no message behind.
wait_in(Pipeline, {ok, Ref} = Place, Left) ->
    receive
        {capture_room, Ref} -> ok
    after Left ->
        case ?NIF:delivery_cancel(Pipeline, Ref) of
            sent -> wait_in(Pipeline, Place, 1);
            _ -> ok
        end
    end;
wait_in(_Pipeline, {error, _}, Left) ->
    %% A native storage sends no message.
    receive
    after min(Left, 1) -> ok
    end.
