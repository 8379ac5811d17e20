%% @doc Captures events at the price of a copy and gets every one of them to a storage.
%%
%% A pipeline takes events from any process by {@link capture/3}, which never waits, and hands them on in batches: to processes that have
%% attached ({@link attach/1}), or to a SQLite database, which they reach without entering the VM again.
%%
%% From nothing to the first event that is delivered:
%% ```
%% {ok, P} = elixir_scope_capture_pipeline:start(#{}),
%% ok = elixir_scope_capture_pipeline:attach(P),
%% ok = elixir_scope_capture_pipeline:capture(P, {hello, world}),
%% receive
%%     {capture_batch, P, Token, _BatchId, _Attempt, Events, _Origin} ->
%%         io:format("~p~n", [Events]),
%%         ok = elixir_scope_capture_pipeline:complete(P, Token, ok)
%% end.
%% '''
%% and to the first event that is stored:
%% ```
%% {ok, P} = elixir_scope_capture_pipeline:start(#{}, {sqlite, "events.db", #{}}),
%% ok = elixir_scope_capture_pipeline:capture(P, 1, <<"hello">>),
%% ok = elixir_scope_capture_pipeline:close(P),
%% os:cmd("sqlite3 events.db 'select * from events_view'").
%% '''
%%
%% == What is promised ==
%% A batch stays the pipeline's until a process has answered it by {@link complete/3}: if that process dies, the batch goes to another, under the
%% same batch id and with the same events, whose identity is `{Generation, RingId, Sequence}'. Every event that was offered is
%% accounted for in {@link metrics/1}: `offered' is `captured' and all that was dropped or refused; `captured' is `stored',
%% `dead_lettered', `discarded', `overwritten', `buffered', `in_flight', `in_doubt' and `left'.
%%
%% Each scheduler has a ring buffer of its own, of `ring_bytes', charged with what its events take in memory; where it is full, `overflow' decides.
%% So the order of events is that of a scheduler. Sorting by `{TimestampNs, RingId, Sequence}' restores the order of a process, which may
%% have moved from one to another.
%%
%% A pipeline lives as long as somebody holds a reference to it or is attached. Where it is collected without {@link close/2}, what it still holds
%% is lost.
-module(elixir_scope_capture_pipeline).

-export([start/1, start/2, close/1, close/2, version/0]).
-export([capture/2, capture/3, capture/5, capture_event/2, capture_many/3, capture_wait/4, capture_wait/6]).
-export([attach/1, detach/1, events/2, complete/3, complete_next/3]).
-export([scale/2, flush/1, flush/2, pause/1, resume/1, update/2, kind_name/3]).
-export([config/1, metrics/1, writer_metrics/2, health/1]).

-export_type([
    pipeline/0, storage/0, config/0, sqlite_options/0, kind/0, id/0, event/0, captured/0, batch/0, token/0, result/0,
    refusal/0, answer/0, milliseconds/0
]).

-define(NIF, elixir_scope_capture_pipeline_nif).
-define(CLOSE_TIMEOUT, 5000).
%% Milliseconds after which a process that waits for room looks again, told or not.
-define(WAIT_STEP, 10).

-type pipeline() :: reference().
-type storage() :: delivery | notices | {sqlite, file:name_all(), sqlite_options()}.
%% `delivery': batches go to processes that attach; `notices': the same, and what comes is the number of events, which {@link events/2} gets: this costs less.
-type config() :: #{
    name => atom() | unicode:chardata(),
    writers => 0..256,
    min_writers => 0..256,
    max_writers => 0..256,
    batch_size => 1..65536,
    batch_bytes => pos_integer(),
    linger_us => non_neg_integer(),
    poll_interval_ms => pos_integer(),
    max_in_flight => pos_integer(),
    max_in_doubt => non_neg_integer(),
    ring_bytes => pos_integer(),
    max_rings => pos_integer(),
    max_retired_rings => non_neg_integer(),
    max_event_bytes => pos_integer(),
    overflow => drop_newest | drop_oldest | block,
    ordering => none | per_producer,
    block_timeout_us => non_neg_integer(),
    retry_limit => pos_integer(),
    retry_initial_us => non_neg_integer(),
    retry_max_us => non_neg_integer(),
    retry_max_age_ms => non_neg_integer(),
    storage_deadline_ms => pos_integer(),
    exit_timeout_ms => non_neg_integer(),
    breaker_failures => non_neg_integer(),
    clock => auto | monotonic | ticks,
    writer_class => inherit | other | batch | idle | fifo | rr,
    writer_priority => 0..99,
    writer_nice => -20..19,
    writer_slice_us => 0..100000,
    writer_cpus => unicode:chardata()
}.
%% The fields of `pipeline_config_t' in `capture_pipeline.h', where each is described. Where batches go to processes the numbers of writers are
%% not to be set, they follow the processes, and other defaults hold: retries have no bound, and
%% `max_in_flight' is three batches for each process, with notices one. `writer_class' is `batch' everywhere: a writer that wakes up shall not take the core from
%% the scheduler whose capture has woken it.
-type sqlite_options() :: #{
    max_bytes => non_neg_integer(),
    max_age_ms => non_neg_integer(),
    min_free_disk => non_neg_integer(),
    synchronous => off | normal | full,
    on_full => delete_oldest | reject,
    commit_interval_us => non_neg_integer(),
    commit_events => pos_integer(),
    busy_timeout_ms => non_neg_integer(),
    cache_kib => pos_integer(),
    no_indexes => boolean()
}.
-type kind() :: 0..16#7FFEFFFF.
%% What sort of event, in the caller's own numbering.
-type id() :: 0..16#FFFFFFFFFFFFFFFF.
%% 0: none.
-type event() :: #{
    payload := term(),
    kind => kind(),
    correlation_id => id(),
    node_id => id(),
    timestamp_ns => non_neg_integer(),
    priority => boolean()
}.
-type refusal() ::
    badarg | full | too_large | closed | invalid | busy | no_ring | no_memory | limit | forked | internal.
-type answer() :: ok | {error, badarg | {atom(), unicode:unicode_binary() | term()}}.
-type milliseconds() :: non_neg_integer() | infinity.
-type token() :: pos_integer().
-type captured() ::
    {Payload :: term(), RingId :: pos_integer(), Sequence :: non_neg_integer(), TimestampNs :: non_neg_integer(), kind(),
        CorrelationId :: id(), NodeId :: id()}.
-type batch() ::
    {capture_batch, pipeline(), token(), BatchId :: pos_integer(), Attempt :: pos_integer(), [captured()] | Count :: pos_integer(),
        {Generation :: id(), RealtimeOffsetNs :: integer()}}.
%% With the storage `notices' a batch has the number of its events, which {@link events/2} gets. `TimestampNs' is CLOCK_MONOTONIC of the system; with `RealtimeOffsetNs' added, wall time.
-type result() :: ok | retry | {ok, Rejected :: [non_neg_integer()]}.

%% ---- life ----

%% @doc Starts a pipeline whose batches go to processes.
-spec start(config()) -> {ok, pipeline()} | {error, {atom(), term()}}.
start(Config) ->
    start(Config, delivery).

%% @doc Starts a pipeline. `{error, {badarg, Key}}' names a key that is unknown or has a value of the wrong type; other errors come with a
%% sentence.
-spec start(config(), storage()) -> {ok, pipeline()} | {error, {atom(), term()}}.
start(Config, {sqlite, Path, Options}) ->
    case path(Path) of
        Binary when is_binary(Binary) -> ?NIF:pipeline_start(named(Config), {sqlite, Binary, Options});
        error -> {error, {badarg, path}}
    end;
start(Config, Storage) ->
    ?NIF:pipeline_start(named(Config), Storage).

%% @equiv close(Pipeline, 5000)
-spec close(pipeline()) -> answer().
close(Pipeline) ->
    close(Pipeline, ?CLOSE_TIMEOUT).

%% @doc Refuses new events, hands on what is there, and ends; waits for at most `Timeout'. After `{error, {timeout, _}}' the figures say
%% what is left, and closing again goes on.
-spec close(pipeline(), milliseconds()) -> answer().
close(Pipeline, Timeout) ->
    ?NIF:pipeline_close(Pipeline, Timeout).

%% @doc The version of the library: major * 1000000 + minor * 1000 + patch, and as text.
-spec version() -> {non_neg_integer(), unicode:unicode_binary()}.
version() ->
    ?NIF:version().

%% ---- captures ----

%% @equiv capture(Pipeline, 0, Payload)
-spec capture(pipeline(), term()) -> ok | {error, refusal()}.
capture(Pipeline, Payload) ->
    capture(Pipeline, 0, Payload).

%% @doc Captures an event. It never waits and never raises. A binary is captured as its bytes; any other term is copied, and delivered equal to what it
%% was (a SQLite database gets it in the external term format). `{error, full}': there was no room, the event is dropped and counted.
-spec capture(pipeline(), kind(), term()) -> ok | {error, refusal()}.
capture(Pipeline, Kind, Payload) when is_binary(Payload) ->
    ?NIF:capture_binary(Pipeline, Kind, Payload);
capture(Pipeline, Kind, Payload) ->
    case ?NIF:capture_term(Pipeline, Kind, Payload) of
        {opaque, Limit} -> bound(Pipeline, Payload, Kind, 0, 0, 0, 0, Limit);
        Answer -> Answer
    end.

%% @doc The same with the trace that the event belongs to and the place in the program that it comes from.
-spec capture(pipeline(), kind(), term(), id(), id()) -> ok | {error, refusal()}.
capture(Pipeline, Kind, Payload, CorrelationId, NodeId) when is_binary(Payload) ->
    ?NIF:capture_binary(Pipeline, Kind, Payload, CorrelationId, NodeId);
capture(Pipeline, Kind, Payload, CorrelationId, NodeId) ->
    case ?NIF:capture_term(Pipeline, Kind, Payload, CorrelationId, NodeId) of
        {opaque, Limit} -> bound(Pipeline, Payload, Kind, CorrelationId, NodeId, 0, 0, Limit);
        Answer -> Answer
    end.

%% @doc The same with all that an event can carry.
-spec capture_event(pipeline(), event()) -> ok | {error, refusal()}.
capture_event(Pipeline, #{payload := Payload} = Event) ->
    Kind = maps:get(kind, Event, 0),
    CorrelationId = maps:get(correlation_id, Event, 0),
    NodeId = maps:get(node_id, Event, 0),
    {Own, Time} =
        case Event of
            #{timestamp_ns := Given} -> {2, Given};
            #{} -> {0, 0}
        end,
    Flags =
        case Event of
            #{priority := true} -> Own bor 1;
            #{} -> Own
        end,
    capture_all(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time);
capture_event(_Pipeline, _Event) ->
    {error, badarg}.

capture_all(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time) ->
    case ?NIF:capture_event(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time) of
        {opaque, Limit} -> bound(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time, Limit);
        Answer -> Answer
    end.

%% A term with funs or bitstrings in it: native code cannot see how much they hold.
bound(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time, Limit) ->
    {Bytes, Needs} =
        case elixir_scope_capture_pipeline_term:bound(Payload, Limit) of
            {ok, Found, Found2} -> {Found, Found2};
            too_large -> {Limit + 1, 0}
        end,
    ?NIF:capture_bound(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time, Bytes, Needs).

%% @doc Captures a list of events of one kind, in order. At the first that is refused it stops: `Rest' begins with that one.
-spec capture_many(pipeline(), kind(), [term()]) ->
    {ok, non_neg_integer()} | {error, refusal(), Captured :: non_neg_integer(), Rest :: term()}.
capture_many(Pipeline, Kind, Payloads) ->
    capture_many(Pipeline, Kind, Payloads, 0).

capture_many(Pipeline, Kind, Payloads, Before) ->
    case ?NIF:capture_many(Pipeline, Kind, Payloads) of
        {Captured, [], ok} ->
            {ok, Before + Captured};
        {Captured, Rest, ok} ->
            capture_many(Pipeline, Kind, Rest, Before + Captured);
        {Captured, [Payload | Rest] = Left, Slow} when Slow =:= opaque; Slow =:= large ->
            case capture_all(Pipeline, Payload, Kind, 0, 0, 0, 0) of
                ok -> capture_many(Pipeline, Kind, Rest, Before + Captured + 1);
                {error, Reason} -> {error, Reason, Before + Captured, Left}
            end;
        {Captured, Rest, Reason} ->
            {error, Reason, Before + Captured, Rest};
        {error, Reason} ->
            {error, Reason, Before, Payloads}
    end.

%% @equiv capture_wait(Pipeline, Kind, Payload, 0, 0, Timeout)
-spec capture_wait(pipeline(), kind(), term(), milliseconds()) -> ok | {error, refusal()}.
capture_wait(Pipeline, Kind, Payload, Timeout) ->
    capture_wait(Pipeline, Kind, Payload, 0, 0, Timeout).

%% @doc As {@link capture/5}, but where there is no room it waits for some, for at most `Timeout'; the waiting is the process's, no
%% scheduler's. Each try is an offer, and each that fails is in the figures.
-spec capture_wait(pipeline(), kind(), term(), id(), id(), milliseconds()) -> ok | {error, refusal()}.
capture_wait(Pipeline, Kind, Payload, CorrelationId, NodeId, Timeout) ->
    Try = fun() -> capture(Pipeline, Kind, Payload, CorrelationId, NodeId) end,
    case Try() of
        {error, full} when Timeout =:= infinity ->
            wait_until(Pipeline, Try, infinity);
        {error, full} when is_integer(Timeout), Timeout > 0 ->
            wait_until(Pipeline, Try, erlang:monotonic_time(millisecond) + Timeout);
        Answer ->
            Answer
    end.

wait_until(Pipeline, Try, Until) ->
    %% First the place in the queue, then another try: what leaves in between is not missed.
    Place = ?NIF:delivery_wait(Pipeline),
    case Try() of
        {error, full} = Full ->
            Left = left(Until),
            wait_in(Pipeline, Place, Left),
            case Left of
                0 -> Full;
                _ -> wait_until(Pipeline, Try, Until)
            end;
        Answer ->
            wait_in(Pipeline, Place, 0),
            Answer
    end.

left(infinity) -> ?WAIT_STEP;
left(Until) -> max(0, min(?WAIT_STEP, Until - erlang:monotonic_time(millisecond))).

%% Until there is room, or for so long; and no message is left behind.
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
    %% A native storage tells nobody.
    receive
    after min(Left, 1) -> ok
    end.

%% ---- delivery ----

%% @doc Makes the calling process one of those that batches go to, each as a message of type {@link batch()}. It has at most two of them (of
%% notices: one) that it has not answered. While it lives and has not detached, it keeps the pipeline alive.
-spec attach(pipeline()) -> answer().
attach(Pipeline) ->
    ?NIF:pipeline_attach(Pipeline).

%% @doc No further batch comes; those that the calling process has not answered go to others. One may still be in its mailbox.
-spec detach(pipeline()) -> ok | {error, badarg}.
detach(Pipeline) ->
    ?NIF:pipeline_detach(Pipeline).

%% @doc The events of a batch that came as a notice, copied into the heap of the calling process, which must be the one that it came to. As often as
%% wanted, until the batch is answered.
-spec events(pipeline(), token()) -> [captured()] | {error, badarg | unknown_token}.
events(Pipeline, Token) ->
    case ?NIF:delivery_events(Pipeline, Token, 0) of
        {Events, done} when is_list(Events) -> Events;
        {Events, Next} when is_list(Events) -> events(Pipeline, Token, Next, [Events]);
        {error, _} = Error -> Error
    end.

events(Pipeline, Token, From, Before) ->
    case ?NIF:delivery_events(Pipeline, Token, From) of
        {Events, done} when is_list(Events) -> lists:append(lists:reverse(Before, [Events]));
        {Events, Next} when is_list(Events) -> events(Pipeline, Token, Next, [Events | Before]);
        {error, _} = Error -> Error
    end.

%% @doc Answers a batch: `ok', it is stored; `retry', the same batch again after a while, to any of the processes; `{ok, Rejected}', it is stored
%% but for the events at these positions (the first is 0), which the caller has kept elsewhere: they count as `dead_lettered'.
%% `{error, unknown_token}': it is answered already, or was given to another process.
-spec complete(pipeline(), token(), result()) -> ok | {error, badarg | unknown_token}.
complete(Pipeline, Token, Result) ->
    ?NIF:delivery_complete(Pipeline, Token, Result).

%% @doc As {@link complete/3}; but if the calling process is the one that had the batch, and there are events for another one, the answer is the
%% notice of that one: the process claims it by itself, in this call, and what would have come as a message comes at once. Only with the
%% storage `notices'; elsewhere, and with a `batch_size' above 4096, the same as {@link complete/3}, but for batches that are claimed already.
-spec complete_next(pipeline(), token(), result()) -> ok | batch() | {error, badarg | unknown_token}.
complete_next(Pipeline, Token, Result) ->
    ?NIF:delivery_next(Pipeline, Token, Result).

%% ---- control ----

%% @doc Sets the number of native writers; not where batches go to processes.
-spec scale(pipeline(), non_neg_integer()) -> answer().
scale(Pipeline, Writers) ->
    ?NIF:pipeline_scale(Pipeline, Writers).

%% @equiv flush(Pipeline, infinity)
-spec flush(pipeline()) -> answer().
flush(Pipeline) ->
    flush(Pipeline, infinity).

%% @doc Waits until every event captured before is settled. Not to be called by the process that the batches go to.
-spec flush(pipeline(), milliseconds()) -> answer().
flush(Pipeline, Timeout) ->
    ?NIF:pipeline_flush(Pipeline, Timeout).

%% @doc Hands on no further batch until {@link resume/1}; captures go on.
-spec pause(pipeline()) -> answer().
pause(Pipeline) ->
    ?NIF:pipeline_pause(Pipeline).

%% @doc Undoes {@link pause/1}.
-spec resume(pipeline()) -> answer().
resume(Pipeline) ->
    ?NIF:pipeline_resume(Pipeline).

%% @doc Changes the configuration of a running pipeline, all that is given or nothing. `{error, {fixed, _}}': this cannot change.
-spec update(pipeline(), config()) -> answer().
update(Pipeline, Config) ->
    ?NIF:pipeline_update(Pipeline, named(Config)).

%% @doc Gives a kind a name, for storages that keep names (SQLite does).
-spec kind_name(pipeline(), kind(), atom() | unicode:chardata()) -> answer().
kind_name(Pipeline, Kind, Name) ->
    ?NIF:pipeline_kind_name(Pipeline, Kind, text(Name)).

%% ---- figures ----

%% @doc The running configuration.
-spec config(pipeline()) -> {ok, config()} | {error, term()}.
config(Pipeline) ->
    ?NIF:pipeline_config(Pipeline).

%% @doc All figures: the fields of `pipeline_metrics_t' in `capture_pipeline.h'; where batches go to processes also `faces' (how many are
%% attached), `batches_handed' and `batches_parked' (waiting for one that has room).
-spec metrics(pipeline()) -> {ok, #{atom() => number() | atom()}} | {error, term()}.
metrics(Pipeline) ->
    ?NIF:pipeline_metrics(Pipeline).

%% @doc The figures of one native writer, from 0 on.
-spec writer_metrics(pipeline(), non_neg_integer()) -> {ok, #{atom() => number() | atom()}} | {error, term()}.
writer_metrics(Pipeline, Index) ->
    ?NIF:pipeline_writer_metrics(Pipeline, Index).

%% @doc How it fares: `status' (`healthy', `degraded', `failing'), `reasons' (atoms), `message' (the same in words), and more.
-spec health(pipeline()) -> {ok, #{status := atom(), reasons := [atom()], message := binary(), atom() => term()}} | {error, term()}.
health(Pipeline) ->
    ?NIF:pipeline_health(Pipeline).

%% ---- texts ----

%% A name as the NIF takes it.
named(#{name := Name} = Config) -> Config#{name := text(Name)};
named(Config) -> Config.

text(Name) when is_atom(Name) -> atom_to_binary(Name, utf8);
text(Name) when is_list(Name) ->
    try unicode:characters_to_binary(Name) of
        Binary when is_binary(Binary) -> Binary;
        _ -> Name
    catch
        error:_ -> Name
    end;
text(Name) -> Name.

path(Path) when is_binary(Path) -> Path;
path(Path) when is_atom(Path); is_list(Path) ->
    try filename:flatten(Path) of
        Flat ->
            case unicode:characters_to_binary(Flat, unicode, file:native_name_encoding()) of
                Binary when is_binary(Binary) -> Binary;
                _ -> error
            end
    catch
        error:_ -> error
    end;
path(_) -> error.
