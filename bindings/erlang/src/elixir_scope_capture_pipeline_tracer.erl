%% @doc Traces of the VM as events: calls, returns, exceptions, messages, scheduling, garbage collections. A trace goes from the traced process straight into the
%% ring of its scheduler, without a tracer process and its mailbox, which grows without a bound where a tracer process is slower than what it traces.
%%
%% ```
%% {ok, P} = elixir_scope_capture_pipeline:start(#{}),
%% ok = elixir_scope_capture_pipeline:attach(P),
%% {ok, Tracer} = elixir_scope_capture_pipeline_tracer:start(P, #{max_rate => 100000}),
%% {ok, 1} = elixir_scope_capture_pipeline_tracer:trace_calls(Tracer, {lists, reverse, 1}, #{return => true}),
%% {ok, 1} = elixir_scope_capture_pipeline_tracer:trace_processes(Tracer, Pid, [call]),
%% receive {capture_batch, P, Token, _, _, Events, _} ->
%%     [{{trace, Pid, call, {lists, reverse, [[1, 2]]}}, _, _, _, _, _, _} | _] = Events,
%%     ok = elixir_scope_capture_pipeline:complete(P, Token, ok)
%% end,
%% ok = elixir_scope_capture_pipeline_tracer:stop(Tracer).
%% '''
%%
%% == Events ==
%% The payload of an event is the message that {@link erlang:trace/3} would send to a tracer process: `{trace, Pid, call, {Module, Function, Arguments}}',
%% `{trace, Pid, return_from, {Module, Function, Arity}, Value}', `{trace, Pid, exception_from, {Module, Function, Arity}, {Class, Reason}}',
%% `{trace, Pid, send, Message, To}', ``{trace, Pid, 'receive', Message}'', `{trace, Pid, in, {Module, Function, Arity} | 0}', `{trace, Pid, gc_minor_start, Info}' and so on. A
%% match specification's `{message, Term}' adds an element. The time is that of the event. {@link kind/1} has the kind of each tag. Databases and
%% journals get the payload in the external term format, as that of every term.
%%
%% A trace takes at most `bytes' of a ring, and its arguments and messages at most `depth' levels of containers. What is beyond is left out, and the atom
%% `...' stands in its place: ``[1,2|'...']'', ``{a,'...'}'', ``#{a => 1,'...' => '...'}'', or the atom alone for a whole term. Of a binary that does not fit there is
%% ``{'...', First64Bytes, Size}''. Funs, and bitstrings of no whole bytes, are shown as ``{'...', Text}''. The number of a call's arguments is always right.
%%
%% == The host is safe ==
%% Every trace is counted in the pipeline's ledger ({@link elixir_scope_capture_pipeline:metrics/1}), also one that its full ring drops. A tracer stops by itself, and
%% takes back what it has set in the VM, when its owner dies, when there are more than `max_rate' traces a second, when the VM's memory has grown by more
%% than `max_memory_growth' bytes since it was started, or when its pipeline is closed. {@link info/1} says why. The rate is counted where the traces are made, so
%% that it also works if no other process gets to run.
%%
%% The consumers of the pipeline (the first 64), the tracer's own processes and those under `exclude' are never traced: their traces would make more events. Exclude
%% also the processes that your consumers send the events to.
%%
%% == Other tools ==
%% On OTP 27 and later each tracer has a trace session of its own, so that it meets no other tool. On OTP 25 and 26 the VM has one tracer for a
%% process and one match specification for a function. There a function or process that another tool traces is refused as `{in_use, _}', and
%% {@link stop/1} clears only what this tracer has set. A process that another tool traces with the flag `call' meanwhile shows that tool the calls of
%% this tracer's functions too.
-module(elixir_scope_capture_pipeline_tracer).

-export([start/1, start/2, stop/1, stop/2, trace_calls/2, trace_calls/3, untrace_calls/2, trace_processes/3, untrace_processes/2, info/1]).
-export([kind/1, kinds/0]).
-export([timeline_kinds/0]).
-export_type([tracer/0, options/0, call_options/0, pattern/0, processes/0, flag/0, info/0, state/0, tag/0]).

-define(GUARD, elixir_scope_capture_pipeline_tracer_guard).
-define(NIF, elixir_scope_capture_pipeline_nif).
%% Of a tag that is newer than this library.
-define(OTHER_KIND, 16#7FFE01FF).

-opaque tracer() :: {?MODULE, pid(), reference()}.
-type options() :: #{
    depth => 0..32,
    bytes => 256..8192,
    max_rate => pos_integer() | infinity,
    max_memory_growth => pos_integer() | infinity,
    owner => pid(),
    exclude => [pid()],
    timeline => boolean(),
    name => atom()
}.
%% `depth': 8 by default. `bytes': 1024 by default, at most the pipeline's `max_event_bytes'. `max_rate': 1,000,000 traces a second by default.
%% `max_memory_growth': 1 GiB by default. `owner': the calling process by default. `name': of the trace session, on OTP 27 and later.
%% `timeline': calls, returns and exceptions are captured as typed events, without arguments and values, of which `capture-pipeline export' makes slices in a row of their
%% process; false by default.
-type pattern() :: module() | {module()} | {module(), atom()} | {module() | '_', atom(), arity() | '_'}.
%% `lists' stands for `{lists, '_', '_'}', and `{lists, reverse}' for `{lists, reverse, '_'}'.
-type call_options() :: #{return => boolean(), match_spec => true | [tuple()], local => boolean()}.
%% `return': also when the function returns or an exception leaves it. `match_spec': a match specification of the VM, in place of `return'. `local': also calls
%% inside the module, and functions that are not exported; true by default.
-type processes() :: pid() | port() | all | existing | new | all_processes | existing_processes | new_processes | all_ports | existing_ports | new_ports.
-type flag() ::
    call | arity | send | 'receive' | procs | ports | running | running_procs | running_ports | exiting | garbage_collection | return_to
    | set_on_spawn | set_on_first_spawn | set_on_link | set_on_first_link | silent.
%% As in {@link erlang:trace/3}. With `arity' a call has the number of its arguments in place of them.
-type state() :: running | stopped | owner_died | too_fast | too_much_memory | pipeline_closed.
-type info() :: #{
    state := state(),
    captured := non_neg_integer(),
    refused := non_neg_integer(),
    without_ring := non_neg_integer()
}.
%% `refused': the traces that the pipeline dropped or refused; its ledger says why. `without_ring': traces of threads that are no schedulers. They are not in
%% the ledger. None is known to exist.
-type tag() :: atom().
-type problem() :: {invalid, term()} | {in_use, term()} | {atom(), term()} | stopped.

%% ---- start and end ----

%% @equiv start(Pipeline, #{})
-spec start(elixir_scope_capture_pipeline:pipeline()) -> {ok, tracer()} | {error, problem()}.
start(Pipeline) -> start(Pipeline, #{}).

%% @doc Starts a tracer, which traces nothing yet. It opens a ring for each scheduler of the VM, dirty ones too: `{error, {limit, _}}' if that is more than the
%% pipeline's `max_rings'. The rings are given back when the tracer is garbage collected.
-spec start(elixir_scope_capture_pipeline:pipeline(), options()) -> {ok, tracer()} | {error, problem()}.
start(Pipeline, Options) when is_map(Options) ->
    case [Key || {Key, Value} <- maps:to_list(Options), not valid(Key, Value)] of
        [] ->
            case ?GUARD:start(Pipeline, maps:merge(defaults(), Options)) of
                {ok, Guard, Native} -> {ok, {?MODULE, Guard, Native}};
                {error, _} = Error -> Error
            end;
        [Key | _] ->
            {error, {invalid, Key}}
    end;
start(_Pipeline, _Options) ->
    {error, {invalid, options}}.

defaults() ->
    #{depth => 8, bytes => 1024, max_rate => 1000000, max_memory_growth => 1 bsl 30, owner => self(), exclude => [], timeline => false, name => ?MODULE}.

valid(depth, Depth) -> is_integer(Depth) andalso Depth >= 0 andalso Depth =< 32;
valid(bytes, Bytes) -> is_integer(Bytes) andalso Bytes >= 256 andalso Bytes =< 8192;
valid(max_rate, Rate) -> Rate =:= infinity orelse is_integer(Rate) andalso Rate > 0;
valid(max_memory_growth, Bytes) -> Bytes =:= infinity orelse is_integer(Bytes) andalso Bytes > 0;
valid(owner, Owner) -> is_pid(Owner) andalso node(Owner) =:= node();
valid(exclude, Pids) -> is_list(Pids) andalso length(Pids) =< 60 andalso lists:all(fun(Pid) -> is_pid(Pid) andalso node(Pid) =:= node() end, Pids);
valid(timeline, Timeline) -> is_boolean(Timeline);
valid(name, Name) -> is_atom(Name);
valid(_, _) -> false.

%% @equiv stop(Tracer, 5000)
-spec stop(tracer()) -> ok | {error, timeout}.
stop(Tracer) -> stop(Tracer, 5000).

%% @doc Stops a tracer. When this returns `ok', nothing is traced by it any more, and the VM has none of its patterns. The events that it has captured stay in
%% the pipeline.
-spec stop(tracer(), timeout()) -> ok | {error, timeout}.
stop({?MODULE, Guard, Native}, Timeout) ->
    _ = ?NIF:tracer_stop(Native, stopped),
    ?GUARD:stop(Guard, Timeout).

%% ---- what is traced ----

%% @equiv trace_calls(Tracer, Pattern, #{})
-spec trace_calls(tracer(), pattern()) -> {ok, non_neg_integer()} | {error, problem()}.
trace_calls(Tracer, Pattern) -> trace_calls(Tracer, Pattern, #{}).

%% @doc Traces calls of the functions of the pattern, in the processes that are traced with the flag `call'. Returns their number, of the functions that are loaded
%% now. The same pattern again replaces its options. A later pattern that names some of the same functions is `{in_use, _}' on OTP 25 and 26, unless
%% it is the same.
-spec trace_calls(tracer(), pattern(), call_options()) -> {ok, non_neg_integer()} | {error, problem()}.
trace_calls({?MODULE, Guard, _}, Pattern, Options) ->
    case {function_pattern(Pattern), call_options(Options)} of
        {error, _} -> {error, {invalid, Pattern}};
        {_, error} -> {error, {invalid, Options}};
        {Functions, {Spec, Flags}} -> ?GUARD:call(Guard, {trace_calls, Functions, Spec, Flags})
    end.

%% @doc Undoes {@link trace_calls/3} with the same pattern.
-spec untrace_calls(tracer(), pattern()) -> ok | {error, problem()}.
untrace_calls({?MODULE, Guard, _}, Pattern) ->
    case function_pattern(Pattern) of
        error -> {error, {invalid, Pattern}};
        Functions -> ?GUARD:call(Guard, {untrace_calls, Functions})
    end.

function_pattern(Module) when is_atom(Module) -> {Module, '_', '_'};
function_pattern({Module}) when is_atom(Module) -> {Module, '_', '_'};
function_pattern({Module, Function}) when is_atom(Module), is_atom(Function) -> {Module, Function, '_'};
function_pattern({Module, Function, '_'} = All) when is_atom(Module), is_atom(Function) -> All;
function_pattern({Module, Function, Arity} = One) when is_atom(Module), is_atom(Function), is_integer(Arity), Arity >= 0, Arity =< 255 -> One;
function_pattern(_) -> error.

call_options(#{} = Options) ->
    Local = maps:get(local, Options, true),
    Spec =
        case Options of
            #{match_spec := Given} -> Given;
            #{return := true} -> [{'_', [], [{exception_trace}]}];
            #{} -> true
        end,
    Known = maps:keys(Options) -- [return, match_spec, local] =:= [] andalso is_boolean(maps:get(return, Options, false)),
    case Known andalso is_boolean(Local) andalso (Spec =:= true orelse is_list(Spec)) of
        true when Local -> {Spec, [local]};
        true -> {Spec, [global]};
        false -> error
    end;
call_options(_) ->
    error.

%% @doc Traces processes or ports, and returns how many. For `all' and `existing' that is the number of those that there are, the excluded ones among them.
-spec trace_processes(tracer(), processes(), [flag()]) -> {ok, non_neg_integer()} | {error, problem()}.
trace_processes({?MODULE, Guard, _}, Processes, Flags) ->
    ?GUARD:call(Guard, {trace_processes, Processes, Flags}).

%% @doc Traces these processes or ports no longer. Those that another tool traces are left alone.
-spec untrace_processes(tracer(), processes()) -> ok | {error, problem()}.
untrace_processes({?MODULE, Guard, _}, Processes) ->
    ?GUARD:call(Guard, {untrace_processes, Processes}).

%% ---- figures ----

%% @doc The state of a tracer, also of one that has stopped, and how many traces it has made.
%% `{error, badarg}': the module of the NIF was purged, and the tracer with it.
-spec info(tracer()) -> info() | {error, badarg}.
info({?MODULE, _, Native}) ->
    case ?NIF:tracer_info(Native) of
        {error, badarg} = Error ->
            Error;
        {State, Captured, Refused, WithoutRing} ->
            #{state => State, captured => Captured, refused => Refused, without_ring => WithoutRing}
    end.

%% @doc The kind of the events with that tag.
-spec kind(tag()) -> elixir_scope_capture_pipeline:kind().
kind(Tag) -> maps:get(Tag, kinds(), ?OTHER_KIND).

%% @doc All kinds. The name of a kind is `trace_' and the tag.
-spec kinds() -> #{tag() => elixir_scope_capture_pipeline:kind()}.
kinds() -> maps:from_list(?NIF:tracer_kinds()).

%% @private
%% The typed kinds of `timeline': a call begins a slice, which its return or exception ends. `track' is the process, in whose row the slice is drawn whichever scheduler has
%% captured it, and `label' is the name of the slice. See c_src/tracer/tracer.h.
-spec timeline_kinds() -> [elixir_scope_capture_pipeline_kind:kind()].
timeline_kinds() ->
    Track = {track, {string, 32}},
    By = {by, {enum, u8, [{return, 0}, {exception, 1}]}},
    Label = {label, string},
    Of = fun(Number, Options) ->
        {ok, Kind} = elixir_scope_capture_pipeline_kind:new(Number, Options#{category => calls}),
        Kind
    end,
    [
        Of(16#7FFE0180, #{name => traced_call, role => 'begin', pairs_with => 16#7FFE0181, fields => [Track, Label]}),
        Of(16#7FFE0181, #{name => traced_return, role => 'end', pairs_with => 16#7FFE0180, fields => [Track, By, Label]})
    ].
