%% @doc Captures events at the cost of a copy, and delivers every one of them to a storage.
%%
%% A pipeline takes events from any process by {@link capture/3}, which never waits. It delivers them in batches to consumers, which are processes
%% that have attached ({@link attach/1}), or to a SQLite database, which they reach without entering the VM again.
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
%% == Guarantees ==
%% The pipeline keeps a batch until a consumer has answered it by {@link complete/3}. If the consumer dies, another one gets the batch, with the same
%% batch id and the same events. The identity of an event is `{Generation, RingId, Sequence}'. {@link metrics/1} accounts for every event
%% that was offered: `offered' is the sum of `captured' and all dropped or refused events; `captured' is the sum of `stored', `dead_lettered',
%% `discarded', `overwritten', `buffered', `in_flight', `in_doubt' and `left'.
%%
%% Each scheduler has a ring buffer of `ring_bytes', which is charged with the memory that its events take. `overflow' decides what a capture does
%% when the ring is full. The order of events is that within a scheduler. Sorting by `{TimestampNs, RingId, Sequence}' restores the order
%% of a process, which may have moved between schedulers.
%%
%% == Configuration ==
%% A configuration is a map of the fields of `pipeline_config_t' in `capture_pipeline.h', where each is described. A field that is not given has
%% the default described there, but `writer_class' is `batch': a writer that wakes up does not take the core from the scheduler whose capture
%% has woken it. With the storages `delivery' and `notices', the numbers of writers cannot be set, because they follow the attached processes. There,
%% retries have no limit by default, and `max_in_flight' is three batches for each process (one with `notices'). There, `terms' is one more key,
%% for a start only: `fastest' (the default) or `blocks', by which no term of this pipeline is captured as flat words (see {@link capture_info/0}).
%%
%% == Lifetime ==
%% A pipeline lives as long as somebody holds a reference to it or is attached. Where it is collected without {@link close/2}, what it still holds
%% is lost, unless it has a `ring_dir'.
%%
%% With `ring_dir', its rings lie in a file of that directory, which must be on tmpfs (or on a disk, with `ring_disk'). However the VM ends, the next pipeline
%% that is started with this directory delivers what was not acknowledged, under the same identities: such a batch has the `Generation' of the run that
%% captured it, and {@link metrics/1} counts it as `recovered'. Terms are captured in the external term format then; their processes, ports, references and
%% local funs are those of the VM that has ended. A tracer needs a pipeline without `ring_dir'.
-module(elixir_scope_capture_pipeline).

-export([start/1, start/2, close/1, close/2, version/0, capture_info/0]).
-export([capture/2, capture/3, capture/5, capture_event/2, capture_many/3, capture_wait/4, capture_wait/6]).
-export([attach/1, detach/1, events/2, flags/1, complete/3, complete_next/3]).
-export([scale/2, flush/1, flush/2, pause/1, resume/1, update/2, kind_name/3, kind_define/2]).
-export([pressure/1, watch_pressure/2, unwatch_pressure/1]).
-export([set_rules/2, set_rules/3, load_rules/2, load_rules/3, clear_rules/1, rules/1, attribute/3, limit_calls/1]).
-export([snapshot/2, snapshot_on_trigger/2]).
-export([config/1, metrics/1, metrics_text/1, metrics_text/2, writer_metrics/2, health/1]).

%% config/0, metrics/0, writer_metrics/0, health/0: written by `make header'.
-include("elixir_scope_capture_pipeline_lists.hrl").

%% What a snapshot has: `pipeline_snapshot_t' in `capture_pipeline.h'.
-type snapshot() :: #{
    generation := non_neg_integer(),
    segment := pos_integer(),
    events := non_neg_integer(),
    rings := non_neg_integer(),
    bytes := pos_integer(),
    left_out := non_neg_integer(),
    passed_bytes := non_neg_integer(),
    first_ns := non_neg_integer(),
    last_ns := non_neg_integer(),
    took_ns := non_neg_integer()
}.
-export_type([snapshot/0]).

-export_type([
    pipeline/0, storage/0, config/0, start_config/0, metrics/0, writer_metrics/0, health/0, sqlite_options/0, journal_options/0, perfetto_options/0, kind/0, id/0, event/0, captured/0, batch/0, mark/0, flag/0, token/0, result/0,
    refusal/0, answer/0, milliseconds/0, rules/0, rules_options/0
]).

-define(NIF, elixir_scope_capture_pipeline_nif).
-define(TEXT, elixir_scope_capture_pipeline_text).
-define(WAIT, elixir_scope_capture_pipeline_wait).
-define(CLOSE_TIMEOUT, 5000).
-define(CLOSE_GRACE, 1000).

-type pipeline() :: reference().
-type storage() ::
    delivery | notices | {sqlite, file:name_all(), sqlite_options()} | {journal, file:name_all(), journal_options()} | {perfetto, file:name_all(), perfetto_options()}.
%% `delivery': batches go to consumers as messages. `notices': the same, but a message has only the number of events, which {@link events/2} then
%% reads. This costs less.
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
    file_mode => 8#600..8#666,
    no_indexes => boolean()
}.
%% The fields of `pipeline_sqlite_options_t' in `capture_pipeline.h'. `file_mode' is that of chmod(2). Its default is 8#600: only the owner has
%% access.
-type journal_options() :: #{
    segment_bytes => pos_integer(),
    max_bytes => non_neg_integer(),
    max_age_ms => non_neg_integer(),
    min_free_disk => non_neg_integer(),
    segment_age_ms => non_neg_integer(),
    sync => never | flush | interval | batch,
    sync_interval_ms => pos_integer(),
    on_full => delete_oldest | reject,
    encoding => raw | columns | columns_lz4 | columns_zstd,
    file_mode => 8#600..8#666,
    live_figures => boolean()
}.
%% The fields of `pipeline_journal_options_t' in `capture_pipeline.h'. `live_figures': a file in the directory shows the figures of the pipeline to other processes, such
%% as `capture-pipeline metrics', until the pipeline is collected.
-type perfetto_options() :: #{
    file_bytes => pos_integer(),
    file_age_ms => non_neg_integer(),
    max_bytes => non_neg_integer(),
    sync => never | flush,
    file_mode => 8#600..8#666
}.
%% The fields of `pipeline_perfetto_options_t' in `capture_pipeline.h'.
-type start_config() :: config() | #{terms := fastest | blocks, atom() => term()}.
%% A configuration, and beside it `terms'.
-type kind() :: 0..16#7FFEFFFF.
%% The kind of an event, by the caller's own numbers.
-type id() :: 0..16#FFFFFFFFFFFFFFFF.
%% 0: none.
-type event() :: #{
    payload := term(),
    kind => kind(),
    correlation_id => id(),
    node_id => id(),
    timestamp_ns => non_neg_integer(),
    %% Puts the event into the priority ring. It is stored before others.
    priority => boolean()
}.
-type refusal() ::
    badarg | full | too_large | closed | invalid | busy | no_ring | no_memory | limit | forked | internal | sampled | dropped_by_rule.
%% `sampled' and `dropped_by_rule' are no failures: the event was left out on purpose, and is counted.
-type rules() :: [elixir_scope_capture_pipeline_rule:rule()] | binary().
-type rules_options() :: #{dry => boolean()}.
-type answer() :: ok | {error, badarg | {atom(), unicode:unicode_binary() | term()}}.
-type milliseconds() :: non_neg_integer() | infinity.
-type token() :: pos_integer().
-type captured() ::
    {Payload :: term(), RingId :: pos_integer(), Sequence :: non_neg_integer(), TimestampNs :: non_neg_integer(), kind(),
        CorrelationId :: id(), NodeId :: id()}.
-type batch() ::
    {capture_batch, pipeline(), token(), BatchId :: pos_integer(), Attempt :: pos_integer(), [captured()] | Count :: pos_integer(),
        {Generation :: id(), RealtimeOffsetNs :: integer()} | {Generation :: id(), RealtimeOffsetNs :: integer(), [mark()] | unknown}}.
%% With the storage `notices' a batch has the number of its events, which {@link events/2} reads. `TimestampNs' is of the system's
%% CLOCK_MONOTONIC; the sum with `RealtimeOffsetNs' is wall time. Only if some events of the batch have marks, these follow. `unknown': there was no memory for
%% them, and the batch may be answered `retry'.
-type mark() :: {Index :: non_neg_integer(), Weight :: number(), Flags :: non_neg_integer()}.
%% An event that sampling, a rule, a transform or its caller has marked, by its index in the batch, from 0. `Weight': how many captured events it stands for. For the
%% flags see {@link flags/1}. An event without a mark has the weight 1 and no flag.
-type flag() :: priority | partial | transformed | {tag, 1..8}.
-type result() :: ok | retry | {ok, Rejected :: [non_neg_integer()]}.

%% ---- start and end ----

%% @doc Starts a pipeline whose batches go to consumers.
-spec start(start_config()) -> {ok, pipeline()} | {error, {atom(), term()}}.
start(Config) ->
    start(Config, delivery).

%% @doc Starts a pipeline. `{error, {badarg, Key}}' names a key that is unknown or has a value of the wrong type. Other errors have a text.
-spec start(start_config(), storage()) -> {ok, pipeline()} | {error, {atom(), term()}}.
start(Config, {Native, Path, Options}) when Native =:= sqlite; Native =:= journal; Native =:= perfetto ->
    case ?TEXT:path(Path) of
        Binary when is_binary(Binary) -> ?WAIT:started(?NIF:pipeline_start(?TEXT:named(Config), {Native, Binary, Options}));
        error -> {error, {badarg, path}}
    end;
start(Config, Storage) ->
    ?WAIT:started(?NIF:pipeline_start(?TEXT:named(Config), Storage)).

%% @equiv close(Pipeline, 5000)
-spec close(pipeline()) -> answer().
close(Pipeline) ->
    close(Pipeline, ?CLOSE_TIMEOUT).

%% @doc Refuses new events, delivers the remaining ones, and ends the pipeline. Waits for at most `Timeout'. The calling process waits, not a
%% scheduler. After `{error, {timeout, _}}' the metrics tell how many events are left, and another `close' goes on.
-spec close(pipeline(), milliseconds()) -> answer().
close(Pipeline, Timeout) ->
    %% The answer normally comes at the timeout. The grace is for a pipeline that another process closes with a longer timeout.
    ?WAIT:settled(Pipeline, ?NIF:pipeline_close(Pipeline, Timeout), Timeout, ?CLOSE_GRACE).

%% @doc The version of the library: major * 1000000 + minor * 1000 + patch, and as text.
-spec version() -> {non_neg_integer(), unicode:unicode_binary()}.
version() ->
    ?NIF:version().

%% @doc How terms are captured for consumers in this VM. `flat': as the words that they have on a heap; terms that only the VM can copy go into
%% environment blocks. `blocks': all terms go into environment blocks, by the NIF API alone, which costs more.
%%
%% The reason is `tested' for `flat': all tests of terms have passed on this version of the emulator, and its layout of terms was confirmed when
%% the library was loaded. For `blocks' it is `version', if this version was not tested, or `layout', if its layout is another one than that of
%% the tested version. `erts' is the version of the emulator.
-spec capture_info() -> #{terms := flat | blocks, reason := tested | version | layout, erts := unicode:unicode_binary()}.
capture_info() ->
    {Terms, Reason, Erts} = ?NIF:capture_info(),
    #{terms => Terms, reason => Reason, erts => list_to_binary(Erts)}.

%% ---- captures ----

%% @equiv capture(Pipeline, 0, Payload)
-spec capture(pipeline(), term()) -> ok | {error, refusal()}.
capture(Pipeline, Payload) ->
    capture(Pipeline, 0, Payload).

%% @doc Captures an event. It never waits and never raises. A binary is captured as its bytes. Any other term is copied, and an equal term is
%% delivered (a SQLite database gets it in the external term format). `{error, full}': the ring is full; the event is dropped and counted.
-spec capture(pipeline(), kind(), term()) -> ok | {error, refusal()}.
capture(Pipeline, Kind, Payload) when is_binary(Payload) ->
    ?NIF:capture_binary(Pipeline, Kind, Payload);
capture(Pipeline, Kind, Payload) ->
    case ?NIF:capture_term(Pipeline, Kind, Payload) of
        {opaque, Limit} -> measure_and_capture(Pipeline, Payload, Kind, 0, 0, 0, 0, Limit);
        Answer -> Answer
    end.

%% @doc The same with a correlation id and a node id.
-spec capture(pipeline(), kind(), term(), id(), id()) -> ok | {error, refusal()}.
capture(Pipeline, Kind, Payload, CorrelationId, NodeId) when is_binary(Payload) ->
    ?NIF:capture_binary(Pipeline, Kind, Payload, CorrelationId, NodeId);
capture(Pipeline, Kind, Payload, CorrelationId, NodeId) ->
    case ?NIF:capture_term(Pipeline, Kind, Payload, CorrelationId, NodeId) of
        {opaque, Limit} -> measure_and_capture(Pipeline, Payload, Kind, CorrelationId, NodeId, 0, 0, Limit);
        Answer -> Answer
    end.

%% @doc The same with all fields of an event.
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
    capture_fields(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time);
capture_event(_Pipeline, _Event) ->
    {error, badarg}.

capture_fields(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time) ->
    case ?NIF:capture_event(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time) of
        {opaque, Limit} -> measure_and_capture(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time, Limit);
        Answer -> Answer
    end.

%% A term with funs or bitstrings: native code cannot measure them.
measure_and_capture(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time, Limit) ->
    {Bytes, Needs} =
        case elixir_scope_capture_pipeline_term:bound(Payload, Limit) of
            {ok, Measured, Found} -> {Measured, Found};
            too_large -> {Limit + 1, 0}
        end,
    ?NIF:capture_bound(Pipeline, Payload, Kind, CorrelationId, NodeId, Flags, Time, Bytes, Needs).

%% @doc Captures a list of events of one kind, in order, up to the first one that is refused. `Rest' begins with that one. Events that are sampled out,
%% or that a rule drops, do not end it: they are among those that are counted as captured here.
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
            case capture_fields(Pipeline, Payload, Kind, 0, 0, 0, 0) of
                ok -> capture_many(Pipeline, Kind, Rest, Before + Captured + 1);
                {error, LeftOut} when LeftOut =:= sampled; LeftOut =:= dropped_by_rule -> capture_many(Pipeline, Kind, Rest, Before + Captured + 1);
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

%% @doc As {@link capture/5}, but if the ring is full it waits for space, for at most `Timeout'. The calling process waits, not a scheduler. Each
%% attempt counts as an offered event, and each failed attempt as a dropped one.
-spec capture_wait(pipeline(), kind(), term(), id(), id(), milliseconds()) -> ok | {error, refusal()}.
capture_wait(Pipeline, Kind, Payload, CorrelationId, NodeId, Timeout) ->
    Capture = fun() -> capture(Pipeline, Kind, Payload, CorrelationId, NodeId) end,
    ?WAIT:for_space(Pipeline, Capture, Timeout).

%% ---- delivery ----

%% @doc Makes the calling process a consumer. It gets each batch as a message of type {@link batch()}, and has at most two outstanding batches, which it
%% has not answered (with notices: one). A consumer keeps the pipeline alive until it detaches or dies.
-spec attach(pipeline()) -> answer().
attach(Pipeline) ->
    ?NIF:pipeline_attach(Pipeline).

%% @doc The calling process gets no further batch. Its outstanding batches go to other consumers. One may still be in its mailbox.
-spec detach(pipeline()) -> ok | {error, badarg}.
detach(Pipeline) ->
    ?NIF:pipeline_detach(Pipeline).

%% @doc Reads the events of a notice: copies them into the heap of the calling process, which must be the consumer that got the notice. May be called
%% repeatedly until the batch is answered.
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

%% @doc Answers a batch. `ok': it is stored. `retry': any consumer gets the same batch again after a back-off. `{ok, Rejected}': it is stored except
%% for the events at these indexes (the first is 0), which the caller has kept elsewhere; they count as `dead_lettered'.
%% `{error, unknown_token}': the batch is answered already, or another consumer has it.
-spec complete(pipeline(), token(), result()) -> ok | {error, badarg | unknown_token}.
complete(Pipeline, Token, Result) ->
    ?NIF:delivery_complete(Pipeline, Token, Result).

%% @doc As {@link complete/3}, but if the calling process is the consumer of the batch and there are more events, it claims the next batch in this
%% call and returns its notice, which would otherwise come as a message. Only with the storage `notices'. With another storage, or with a `batch_size'
%% above 4096, it returns only batches that are claimed already.
-spec complete_next(pipeline(), token(), result()) -> ok | batch() | {error, badarg | unknown_token}.
complete_next(Pipeline, Token, Result) ->
    ?NIF:delivery_next(Pipeline, Token, Result).

%% @doc The names of the flags of a {@link mark()}. `partial': sampling may have dropped earlier events of its trace. `{tag, N}': a rule has set it.
-spec flags(non_neg_integer()) -> [flag()].
flags(Flags) ->
    Known = [{1, priority}, {1 bsl 8, partial}, {1 bsl 9, transformed} | [{1 bsl (15 + N), {tag, N}} || N <- lists:seq(1, 8)]],
    [Name || {Bit, Name} <- Known, Flags band Bit =/= 0].

%% ---- control ----

%% @doc Sets the number of native writers. Not with consumers.
-spec scale(pipeline(), non_neg_integer()) -> answer().
scale(Pipeline, Writers) ->
    ?NIF:pipeline_scale(Pipeline, Writers).

%% @equiv flush(Pipeline, infinity)
-spec flush(pipeline()) -> answer().
flush(Pipeline) ->
    flush(Pipeline, infinity).

%% @doc Waits until every event captured before is settled. The calling process waits, not a scheduler. A consumer must not call it.
-spec flush(pipeline(), milliseconds()) -> answer().
flush(Pipeline, Timeout) ->
    ?WAIT:settled(Pipeline, ?NIF:pipeline_flush(Pipeline, Timeout), Timeout, 0).

%% @doc Delivers no further batch until {@link resume/1}. Captures go on.
-spec pause(pipeline()) -> answer().
pause(Pipeline) ->
    ?NIF:pipeline_pause(Pipeline).

%% @doc Undoes {@link pause/1}.
-spec resume(pipeline()) -> answer().
resume(Pipeline) ->
    ?NIF:pipeline_resume(Pipeline).

%% @doc Changes the configuration of a running pipeline: all given fields, or none. `{error, {fixed, _}}': a field that cannot change.
-spec update(pipeline(), config()) -> answer().
update(Pipeline, Config) ->
    ?NIF:pipeline_update(Pipeline, ?TEXT:named(Config)).

%% @doc How urgently the pipeline needs relief, 0 to 100: how full its fullest ring buffer is, or how old its oldest event is against
%% `pressure_age_ms', whichever is more. It reads one word.
-spec pressure(pipeline()) -> 0..100.
pressure(Pipeline) ->
    ?NIF:pipeline_pressure(Pipeline).

%% @doc Has the calling process told when the pressure rises to `High', and then when it falls to `Low', and so on by turns: by messages
%% `{capture_pressure, Ref, Pressure, high | low}'. A pipeline tells one process; who calls last, takes the place of the one before.
%% `{error, {invalid, _}}' unless 0 <= Low < High <= 100.
-spec watch_pressure(pipeline(), {Low :: 0..100, High :: 0..100}) -> {ok, reference()} | {error, badarg | {atom(), term()}}.
watch_pressure(Pipeline, {Low, High}) ->
    Ref = make_ref(),
    case set_watch(Pipeline, Low, High, Ref) of
        ok -> {ok, Ref};
        Error -> Error
    end.

%% @doc Ends what {@link watch_pressure/2} has begun, whoever has called it. A message may still be on its way.
-spec unwatch_pressure(pipeline()) -> answer().
unwatch_pressure(Pipeline) ->
    set_watch(Pipeline, 0, 0, none).

%% While a message is being sent, the one who gets it cannot be replaced.
set_watch(Pipeline, Low, High, Ref) ->
    case ?NIF:pipeline_watch_pressure(Pipeline, Low, High, Ref) of
        {error, {busy, _}} ->
            timer:sleep(1),
            set_watch(Pipeline, Low, High, Ref);
        Answer ->
            Answer
    end.

%% @doc Gives a kind a name, for storages that keep names (SQLite does).
-spec kind_name(pipeline(), kind(), atom() | unicode:chardata()) -> answer().
kind_name(Pipeline, Kind, Name) ->
    ?NIF:pipeline_kind_name(Pipeline, Kind, ?TEXT:text(Name)).

%% @doc Defines a kind, which {@link elixir_scope_capture_pipeline_kind:new/2} has made: storages then show the fields of its payloads (SQLite has a view with a
%% column for each). It also gives the kind its name. With the same layout again: `ok'; with another one: `{error, {fixed, _}}'.
-spec kind_define(pipeline(), elixir_scope_capture_pipeline_kind:kind()) -> answer().
kind_define(Pipeline, Kind) ->
    case elixir_scope_capture_pipeline_kind:native(Kind) of
        {ok, Definition} -> ?NIF:pipeline_kind_define(Pipeline, Definition);
        {error, badarg} = Error -> Error
    end.

%% ---- under load ----

%% @equiv set_rules(Pipeline, Rules, #{})
-spec set_rules(pipeline(), rules()) -> answer().
set_rules(Pipeline, Rules) ->
    set_rules(Pipeline, Rules, #{}).

%% @doc Sets the rules of a pipeline, in place of those before: from then on each event that is captured is judged by them. They are data
%% ({@link elixir_scope_capture_pipeline_rule}), or a text as a binary: `<<"noise: drop if kind = 7\nrest: sample 1/10">>'. `docs/rules.md' has the grammar.
%% With `dry => true' they only count.
%%
%% All rules are taken, or none: `{error, {invalid, Text}}' names the rule, for a text with line and column, and what was expected. Counts begin at 0.
-spec set_rules(pipeline(), rules(), rules_options()) -> answer().
set_rules(Pipeline, Text, Options) when is_binary(Text) ->
    with_flags(Options, fun(Flags) -> ?NIF:pipeline_rules_text(Pipeline, Text, Flags) end);
set_rules(Pipeline, Rules, Options) ->
    case elixir_scope_capture_pipeline_rule:native(Rules) of
        {ok, Native} -> with_flags(Options, fun(Flags) -> ?NIF:pipeline_rules_set(Pipeline, Native, Flags) end);
        {error, _} = Error -> Error
    end.

%% @equiv load_rules(Pipeline, Path, #{})
-spec load_rules(pipeline(), file:name_all()) -> answer() | {error, {badarg, path}}.
load_rules(Pipeline, Path) ->
    load_rules(Pipeline, Path, #{}).

%% @doc Sets the rules from a file with a text. Call it again when the file has changed: nobody watches it. If anything is wrong, the rules before stay in force.
-spec load_rules(pipeline(), file:name_all(), rules_options()) -> answer() | {error, {badarg, path}}.
load_rules(Pipeline, Path, Options) ->
    case ?TEXT:path(Path) of
        Binary when is_binary(Binary) -> with_flags(Options, fun(Flags) -> ?NIF:pipeline_rules_load(Pipeline, Binary, Flags) end);
        error -> {error, {badarg, path}}
    end.

with_flags(Options, Set) when is_map(Options) ->
    case Options of
        #{dry := true} when map_size(Options) =:= 1 -> Set(1);
        #{dry := false} when map_size(Options) =:= 1 -> Set(0);
        #{} when map_size(Options) =:= 0 -> Set(0);
        #{} -> {error, badarg}
    end;
with_flags(_Options, _Set) ->
    {error, badarg}.

%% @doc Writes what lies in the ring buffers to the directory `Dir', as a journal, and changes nothing: for a flight recorder (`overflow => drop_oldest', and
%% {@link pause/1}), which keeps the last events of each scheduler. Captures go on meanwhile. `docs/flight_recorder.md' explains it. Terms that are captured as handles
%% are left out, and counted as `left_out'; capture binaries or flat terms.
-spec snapshot(pipeline(), file:name_all()) -> {ok, snapshot()} | {error, term()}.
snapshot(Pipeline, Dir) ->
    case ?TEXT:path(Dir) of
        Binary when is_binary(Binary) -> ?NIF:pipeline_snapshot(Pipeline, Binary);
        error -> {error, {badarg, path}}
    end.

%% @doc Sets the directory of the snapshots that rules with `snapshot => true' ask for; `none' ends that.
-spec snapshot_on_trigger(pipeline(), file:name_all() | none) -> answer() | {error, {badarg, path}}.
snapshot_on_trigger(Pipeline, none) ->
    ?NIF:pipeline_snapshot_on_trigger(Pipeline, none);
snapshot_on_trigger(Pipeline, Dir) ->
    case ?TEXT:path(Dir) of
        Binary when is_binary(Binary) -> ?NIF:pipeline_snapshot_on_trigger(Pipeline, Binary);
        error -> {error, {badarg, path}}
    end.

%% @doc Ends all rules.
-spec clear_rules(pipeline()) -> answer().
clear_rules(Pipeline) ->
    ?NIF:pipeline_rules_clear(Pipeline).

%% @doc The rules in force, in their order, with their counts. One that names a kind or a field that is not known yet is not `active', and `waits_for' says for
%% what it waits.
-spec rules(pipeline()) -> {ok, [elixir_scope_capture_pipeline_rule:metrics()]} | {error, term()}.
rules(Pipeline) ->
    ?NIF:pipeline_rules_info(Pipeline).

%% @doc Sets an attribute of the pipeline: what is the same for all its events, such as the host, the service or the version. Native storages keep it once. Of several
%% values of one name the last one counts.
-spec attribute(pipeline(), atom() | unicode:chardata(), atom() | unicode:chardata()) -> answer().
attribute(Pipeline, Name, Value) ->
    ?NIF:pipeline_attribute(Pipeline, ?TEXT:text(Name), ?TEXT:text(Value)).

%% @doc Limits how many calls of native storages run at once in this VM, over all its pipelines; 0: no limit. Each pipeline may have one at any time. Those beyond are
%% divided by the `share' in each pipeline's configuration. `permit_waits' of {@link metrics/1} counts how often a pipeline began to wait.
-spec limit_calls(non_neg_integer()) -> answer().
limit_calls(Permits) ->
    ?NIF:limit_calls(Permits).

%% ---- figures ----

%% @doc The running configuration, with the pipeline's name, but without the other texts.
-spec config(pipeline()) -> {ok, config()} | {error, term()}.
config(Pipeline) ->
    ?NIF:pipeline_config(Pipeline).

%% @doc All figures: the fields of `pipeline_metrics_t' in `capture_pipeline.h'; where batches go to processes also `faces' (how many are
%% attached), `batches_handed' and `batches_parked' (waiting for one that has room).
-spec metrics(pipeline()) -> {ok, metrics()} | {error, term()}.
metrics(Pipeline) ->
    ?NIF:pipeline_metrics(Pipeline).

%% @doc The metrics of a pipeline, or of all pipelines of a list, as text for Prometheus.
-spec metrics_text(pipeline() | [pipeline()]) -> {ok, binary()} | {error, term()}.
metrics_text(Pipelines) ->
    metrics_text(Pipelines, prometheus).

%% @doc The same in one of two formats. The samples of a metric stand together, so give all pipelines in one call, and each once. `docs/metrics.md' lists the
%% metrics.
-spec metrics_text(pipeline() | [pipeline()], prometheus | openmetrics) -> {ok, binary()} | {error, term()}.
metrics_text([First | _] = Pipelines, Format) when Format =:= prometheus; Format =:= openmetrics ->
    ?NIF:pipeline_metrics_text(First, Pipelines, case Format of prometheus -> 0; openmetrics -> 1 end);
metrics_text([], prometheus) ->
    {ok, <<>>};
metrics_text([], openmetrics) ->
    {ok, <<"# EOF\n">>};
metrics_text(Pipeline, Format) when is_reference(Pipeline) ->
    metrics_text([Pipeline], Format);
metrics_text(_, _) ->
    {error, badarg}.

%% @doc The figures of one native writer; the index of the first is 0.
-spec writer_metrics(pipeline(), non_neg_integer()) -> {ok, writer_metrics()} | {error, term()}.
writer_metrics(Pipeline, Index) ->
    ?NIF:pipeline_writer_metrics(Pipeline, Index).

%% @doc The health: `status' (`healthy', `degraded', `failing'), `reasons' (atoms), `message' (the same as text), and more.
-spec health(pipeline()) -> {ok, health()} | {error, term()}.
health(Pipeline) ->
    ?NIF:pipeline_health(Pipeline).
