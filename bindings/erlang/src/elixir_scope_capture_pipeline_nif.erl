%% @private
%% The functions of the NIF. Applications use {@link elixir_scope_capture_pipeline} or the Elixir modules.
-module(elixir_scope_capture_pipeline_nif).

-on_load(load/0).
-define(NIFS, [
    %% cursors and rings
    cursor_new/1, cursor_begin/2, cursor_claim/3, cursor_settle/2, cursor_return/2, cursor_set/2, cursor_wait/1, cursor_info/1,
    ring_new/3, ring_write/2, ring_write/4, ring_read/2, ring_read_batch/3, ring_stats/1, ring_clear/1, ring_destroy/1, ring_wait/2, ring_watch/4,
    term_walk/2, term_flat/1, capture_info/0, clock_piece/2,
    %% pipelines, captures, delivery
    pipeline_start/2, version/0, pipeline_scale/2, pipeline_flush/2, pipeline_pause/1, pipeline_resume/1, pipeline_update/2,
    pipeline_config/1, pipeline_metrics/1, pipeline_writer_metrics/2, pipeline_health/1, pipeline_metrics_text/3, pipeline_kind_name/3,
    pipeline_kind_define/2, pipeline_pressure/1, pipeline_watch_pressure/4, pipeline_close/2,
    pipeline_rules_set/3, pipeline_rules_text/3, pipeline_rules_load/3, pipeline_rules_clear/1, pipeline_rules_info/1,
    pipeline_snapshot/2, pipeline_snapshot_on_trigger/2,
    pipeline_attribute/3, limit_calls/1,
    pipeline_forget/2,
    capture_binary/3, capture_binary/5, capture_term/3, capture_term/5, capture_event/7, capture_bound/9, capture_many/3,
    pipeline_attach/1, pipeline_detach/1, delivery_complete/3, delivery_next/3,
    delivery_wait/1, delivery_cancel/2, delivery_events/3, delivery_enriched/4,
    %% tracers
    tracer_new/2, tracer_stop/2, tracer_info/1, tracer_kinds/0, enabled/3, trace/5,
    %% readers of journals
    reader_open/2, reader_next/2, reader_definitions/1, reader_losses/1, reader_close/1
]).
-export(?NIFS).
-nifs(?NIFS).

-define(APPLICATION, elixir_scope_capture_pipeline).
-define(NOT_LOADED, erlang:nif_error({not_loaded, ?MODULE})).

load() ->
    load(candidates(), {load_failed, "no shared object found"}).

%% Loads the first file that exists. If it cannot be loaded, the error says why.
load([], Reason) ->
    {error, Reason};
load([Path | Rest], Reason) ->
    case filelib:is_regular(Path ++ ".so") of
        true -> erlang:load_nif(Path, 0);
        false -> load(Rest, Reason)
    end.

%% The application's priv directory; without the application, the priv directory beside that of the beam files, or that directory itself.
candidates() ->
    Name = atom_to_list(?MODULE),
    Priv =
        case code:priv_dir(?APPLICATION) of
            {error, bad_name} -> [];
            Directory -> [filename:join(Directory, Name)]
        end,
    Beside =
        case code:which(?MODULE) of
            File when is_list(File), File =/= "" ->
                Ebin = filename:dirname(File),
                [filename:join([Ebin, "..", "priv", Name]), filename:join(Ebin, Name)];
            _ ->
                []
        end,
    Priv ++ Beside.

%% ---- cursors and rings (documented in c_src/ring/cursor.h, c_src/ring/ring_nif.h, c_src/term/walk.h) ----

-spec cursor_new(reference() | none) -> {ok, reference()} | {error, atom()}.
cursor_new(_Ring) -> ?NOT_LOADED.

-spec cursor_begin(reference(), pos_integer()) ->
    {again, pos_integer(), non_neg_integer(), non_neg_integer()} | {read, non_neg_integer()} | busy | {error, badarg}.
cursor_begin(_Cursor, _Most) -> ?NOT_LOADED.

-spec cursor_claim(reference(), non_neg_integer(), non_neg_integer()) -> {ok, pos_integer()} | empty | stale | {error, badarg}.
cursor_claim(_Cursor, _From, _To) -> ?NOT_LOADED.

-spec cursor_settle(reference(), pos_integer()) -> ok | unknown | {error, badarg}.
cursor_settle(_Cursor, _Id) -> ?NOT_LOADED.

-spec cursor_return(reference(), pos_integer()) -> ok | unknown | {error, badarg}.
cursor_return(_Cursor, _Id) -> ?NOT_LOADED.

-spec cursor_set(reference(), non_neg_integer()) -> ok | {error, badarg}.
cursor_set(_Cursor, _Position) -> ?NOT_LOADED.

-spec cursor_wait(reference()) -> ready | {ok, reference()} | unsupported | {error, atom()}.
cursor_wait(_Cursor) -> ?NOT_LOADED.

-spec cursor_info(reference()) -> map() | {error, badarg}.
cursor_info(_Cursor) -> ?NOT_LOADED.

-spec ring_new(pos_integer(), drop_oldest | drop_newest | block, non_neg_integer()) ->
    {ok, reference()} | {error, badarg | out_of_memory}.
ring_new(_Size, _Overflow, _MaxEventBytes) -> ?NOT_LOADED.

-spec ring_write(reference(), term()) -> ok | opaque | {error, atom()}.
ring_write(_Ring, _Term) -> ?NOT_LOADED.

-spec ring_write(reference(), term(), non_neg_integer(), non_neg_integer()) -> ok | {error, atom()}.
ring_write(_Ring, _Term, _Bytes, _Needs) -> ?NOT_LOADED.

-spec ring_read(reference(), non_neg_integer()) -> {ok, term(), pos_integer()} | empty | {error, destroyed | badarg}.
ring_read(_Ring, _Position) -> ?NOT_LOADED.

-spec ring_read_batch(reference(), non_neg_integer(), non_neg_integer()) ->
    {[term()], non_neg_integer(), non_neg_integer()} | {error, destroyed | badarg}.
ring_read_batch(_Ring, _Position, _Count) -> ?NOT_LOADED.

-spec ring_stats(reference()) ->
    {non_neg_integer(), non_neg_integer(), non_neg_integer(), non_neg_integer(), non_neg_integer()} | {error, destroyed | badarg}.
ring_stats(_Ring) -> ?NOT_LOADED.

-spec ring_clear(reference()) -> ok | {error, destroyed | badarg | out_of_memory}.
ring_clear(_Ring) -> ?NOT_LOADED.

-spec ring_destroy(reference()) -> ok | {error, badarg}.
ring_destroy(_Ring) -> ?NOT_LOADED.

-spec ring_wait(reference(), non_neg_integer()) -> ready | {ok, reference()} | {error, limit | badarg | out_of_memory}.
ring_wait(_Ring, _Position) -> ?NOT_LOADED.

-spec ring_watch(reference(), non_neg_integer(), non_neg_integer(), reference() | none) ->
    ok | {error, badarg | destroyed | out_of_memory}.
ring_watch(_Ring, _Low, _High, _Ref) -> ?NOT_LOADED.

-spec term_walk(term(), non_neg_integer()) ->
    {non_neg_integer(), non_neg_integer(), [term()]} | too_large | {error, badarg}.
term_walk(_Term, _Limit) -> ?NOT_LOADED.

-spec term_flat(term()) -> {ok, Bytes :: pos_integer(), Copy :: term()} | no | {error, no_memory}.
term_flat(_Term) -> ?NOT_LOADED.

-spec capture_info() -> {flat | blocks, tested | version | layout, string()}.
capture_info() -> ?NOT_LOADED.

%% Converts times of the system's CLOCK_MONOTONIC, by which events are stamped, to the VM's monotonic time (`vm'), or back (`system'). Returns the piece
%% with `From =< Time < Until'. A time of it converts to `FromThere + (Time - From) * Rise div Run'.
-spec clock_piece(vm | system, integer()) ->
    {From :: integer(), Until :: integer(), FromThere :: integer(), Rise :: pos_integer(), Run :: pos_integer()} | {error, badarg}.
clock_piece(_Clock, _Time) -> ?NOT_LOADED.

%% ---- pipelines, captures, delivery ----

-type answer() :: ok | {error, badarg | {atom(), binary()}}.
-type refusal() :: {error, atom()}.
-type kind() :: 0..16#7FFEFFFF.
-type id() :: 0..16#FFFFFFFFFFFFFFFF.
-type milliseconds() :: non_neg_integer() | infinity.

-spec pipeline_start(map(), delivery | {sqlite | journal | perfetto, binary(), map()}) -> {ok, reference()} | {wait, reference()} | {error, {atom(), term()}}.
pipeline_start(_Config, _Storage) -> ?NOT_LOADED.

-spec version() -> {non_neg_integer(), binary()}.
version() -> ?NOT_LOADED.

-spec pipeline_scale(reference(), non_neg_integer()) -> answer().
pipeline_scale(_Pipeline, _Writers) -> ?NOT_LOADED.

-spec pipeline_flush(reference(), milliseconds()) -> {wait, reference()} | answer().
pipeline_flush(_Pipeline, _Timeout) -> ?NOT_LOADED.

-spec pipeline_pressure(reference()) -> 0..100.
pipeline_pressure(_Pipeline) -> ?NOT_LOADED.

-spec pipeline_watch_pressure(reference(), 0..100, 0..100, reference() | none) -> answer().
pipeline_watch_pressure(_Pipeline, _Low, _High, _Ref) -> ?NOT_LOADED.

-spec pipeline_pause(reference()) -> answer().
pipeline_pause(_Pipeline) -> ?NOT_LOADED.

-spec pipeline_resume(reference()) -> answer().
pipeline_resume(_Pipeline) -> ?NOT_LOADED.

-spec pipeline_update(reference(), map()) -> ok | {error, badarg | {atom(), term()}}.
pipeline_update(_Pipeline, _Config) -> ?NOT_LOADED.

-spec pipeline_config(reference()) -> {ok, map()} | {error, badarg | {atom(), binary()}}.
pipeline_config(_Pipeline) -> ?NOT_LOADED.

-spec pipeline_metrics(reference()) -> {ok, map()} | {error, badarg | {atom(), binary()}}.
pipeline_metrics(_Pipeline) -> ?NOT_LOADED.

-spec pipeline_metrics_text(reference(), [reference()], non_neg_integer()) -> {ok, binary()} | {error, atom() | {atom(), binary()}}.
pipeline_metrics_text(_Pipeline, _Pipelines, _Format) -> ?NOT_LOADED.

-spec pipeline_writer_metrics(reference(), non_neg_integer()) -> {ok, map()} | {error, badarg | {atom(), binary()}}.
pipeline_writer_metrics(_Pipeline, _Index) -> ?NOT_LOADED.

-spec pipeline_health(reference()) -> {ok, map()} | {error, badarg | {atom(), binary()}}.
pipeline_health(_Pipeline) -> ?NOT_LOADED.

-spec pipeline_kind_name(reference(), kind(), atom() | binary()) -> answer().
pipeline_kind_name(_Pipeline, _Kind, _Name) -> ?NOT_LOADED.

-spec pipeline_kind_define(reference(), tuple()) -> answer().
pipeline_kind_define(_Pipeline, _Definition) -> ?NOT_LOADED.

%% Rules as elixir_scope_capture_pipeline_rule makes them. Flags: 1 if all of them only count.
-spec pipeline_rules_set(reference(), [tuple()], 0..1) -> answer().
pipeline_rules_set(_Pipeline, _Rules, _Flags) -> ?NOT_LOADED.

-spec pipeline_rules_text(reference(), binary(), 0..1) -> answer().
pipeline_rules_text(_Pipeline, _Text, _Flags) -> ?NOT_LOADED.

-spec pipeline_rules_load(reference(), binary(), 0..1) -> answer() | {error, {badarg, path}}.
pipeline_rules_load(_Pipeline, _Path, _Flags) -> ?NOT_LOADED.

-spec pipeline_rules_clear(reference()) -> answer().
pipeline_rules_clear(_Pipeline) -> ?NOT_LOADED.

-spec pipeline_rules_info(reference()) -> {ok, [map()]} | {error, badarg | {atom(), binary()}}.
pipeline_rules_info(_Pipeline) -> ?NOT_LOADED.

-spec pipeline_attribute(reference(), binary(), binary()) -> answer().
pipeline_attribute(_Pipeline, _Name, _Value) -> ?NOT_LOADED.

-spec pipeline_snapshot(reference(), binary()) -> {ok, map()} | {error, term()}.
pipeline_snapshot(_Pipeline, _Path) -> ?NOT_LOADED.

-spec pipeline_snapshot_on_trigger(reference(), binary() | none) -> answer() | {error, {badarg, path}}.
pipeline_snapshot_on_trigger(_Pipeline, _Path) -> ?NOT_LOADED.

-spec limit_calls(non_neg_integer()) -> answer().
limit_calls(_Permits) -> ?NOT_LOADED.

-spec pipeline_close(reference(), milliseconds()) -> {wait, reference()} | answer().
pipeline_close(_Pipeline, _Timeout) -> ?NOT_LOADED.

%% Withdraws a request: no message `{capture_settled, Ref, Answer}' comes any more. `sent': it has come, or is about to come.
-spec pipeline_forget(reference(), reference()) -> sent | answer().
pipeline_forget(_Pipeline, _Ref) -> ?NOT_LOADED.

-spec capture_binary(reference(), kind(), binary()) -> ok | refusal().
capture_binary(_Pipeline, _Kind, _Binary) -> ?NOT_LOADED.

-spec capture_binary(reference(), kind(), binary(), id(), id()) -> ok | refusal().
capture_binary(_Pipeline, _Kind, _Binary, _Correlation, _Node) -> ?NOT_LOADED.

-spec capture_term(reference(), kind(), term()) -> ok | {opaque, pos_integer()} | refusal().
capture_term(_Pipeline, _Kind, _Term) -> ?NOT_LOADED.

-spec capture_term(reference(), kind(), term(), id(), id()) -> ok | {opaque, pos_integer()} | refusal().
capture_term(_Pipeline, _Kind, _Term, _Correlation, _Node) -> ?NOT_LOADED.

-spec capture_event(reference(), term(), kind(), id(), id(), 0..3, non_neg_integer()) -> ok | {opaque, pos_integer()} | refusal().
capture_event(_Pipeline, _Payload, _Kind, _Correlation, _Node, _Flags, _Time) -> ?NOT_LOADED.

-spec capture_bound(reference(), term(), kind(), id(), id(), 0..3, non_neg_integer(), non_neg_integer(), non_neg_integer()) ->
    ok | refusal().
capture_bound(_Pipeline, _Payload, _Kind, _Correlation, _Node, _Flags, _Time, _Bytes, _Needs) -> ?NOT_LOADED.

-spec capture_many(reference(), kind(), [term()]) -> {non_neg_integer(), term(), atom()} | refusal().
capture_many(_Pipeline, _Kind, _Payloads) -> ?NOT_LOADED.

-spec pipeline_attach(reference()) -> answer().
pipeline_attach(_Pipeline) -> ?NOT_LOADED.

-spec pipeline_detach(reference()) -> ok | {error, badarg}.
pipeline_detach(_Pipeline) -> ?NOT_LOADED.

-spec delivery_complete(reference(), non_neg_integer(), ok | retry | {ok, [non_neg_integer()]}) -> ok | refusal().
delivery_complete(_Pipeline, _Token, _Result) -> ?NOT_LOADED.

-spec delivery_next(reference(), non_neg_integer(), ok | retry | {ok, [non_neg_integer()]}) -> ok | tuple() | refusal().
delivery_next(_Pipeline, _Token, _Result) -> ?NOT_LOADED.

-spec delivery_wait(reference()) -> {ok, reference()} | refusal().
delivery_wait(_Pipeline) -> ?NOT_LOADED.

-spec delivery_cancel(reference(), reference()) -> ok | sent | refusal().
delivery_cancel(_Pipeline, _Ref) -> ?NOT_LOADED.

%% Some of the events of an outstanding batch of the calling process, from that index on.
-spec delivery_events(reference(), non_neg_integer(), non_neg_integer()) -> {[tuple()], pos_integer() | done} | refusal().
delivery_events(_Pipeline, _Token, _From) -> ?NOT_LOADED.

%% The same, with the keys of the enrichment. `false': some are left as in delivery_events.
-spec delivery_enriched(reference(), non_neg_integer(), non_neg_integer(), {integer(), node(), boolean(), non_neg_integer()}) ->
    {{boolean(), [map() | tuple()]}, pos_integer() | done} | refusal().
delivery_enriched(_Pipeline, _Token, _From, _Common) -> ?NOT_LOADED.

%% ---- tracers (documented in c_src/tracer/tracer.h) ----

-spec tracer_new(reference(), {pid(), pos_integer(), non_neg_integer(), pos_integer(), non_neg_integer(), [pid()], boolean()}) ->
    {ok, reference()} | {error, badarg | {atom(), binary()}}.
tracer_new(_Pipeline, _Options) -> ?NOT_LOADED.

-spec tracer_stop(reference(), stopped | owner_died | too_much_memory) -> ok | {error, badarg}.
tracer_stop(_Tracer, _Reason) -> ?NOT_LOADED.

-spec tracer_info(reference()) -> {atom(), non_neg_integer(), non_neg_integer(), non_neg_integer()} | {error, badarg}.
tracer_info(_Tracer) -> ?NOT_LOADED.

-spec tracer_kinds() -> [{atom(), kind()}].
tracer_kinds() -> ?NOT_LOADED.

%% The callbacks of the behaviour erl_tracer, which the VM calls natively. (The behaviour is preloaded, and the compiler does not find it.)
-spec enabled(atom(), term(), pid() | port()) -> trace | discard | remove.
enabled(_Tag, _Tracer, _Tracee) -> ?NOT_LOADED.

-spec trace(atom(), term(), pid() | port(), term(), map()) -> ok.
trace(_Tag, _Tracer, _Tracee, _Term, _Options) -> ?NOT_LOADED.

%% ---- readers of journals (documented in c_src/journal/reader.h) ----

-type reader_refusal() :: {error, busy | badarg | {atom(), binary()}}.

-spec reader_open(binary(), map()) -> {ok, reference()} | {error, badarg | {atom(), term()}}.
reader_open(_Path, _Options) -> ?NOT_LOADED.

-spec reader_next(reference(), pos_integer()) -> [tuple()] | done | empty | reader_refusal().
reader_next(_Reader, _Most) -> ?NOT_LOADED.

-spec reader_definitions(reference()) -> {ok, [{id(), kind(), binary(), none | tuple()}]} | reader_refusal().
reader_definitions(_Reader) -> ?NOT_LOADED.

-spec reader_losses(reference()) -> {ok, map()} | reader_refusal().
reader_losses(_Reader) -> ?NOT_LOADED.

-spec reader_close(reference()) -> ok | {error, badarg}.
reader_close(_Reader) -> ?NOT_LOADED.
