%% @doc Reads a journal: the events that a pipeline with the storage `{journal, Path, Options}' has stored, or any other program with this library.
%%
%% ```
%% {ok, Reader} = elixir_scope_capture_pipeline_journal:open("events.journal", #{order => time}),
%% {ok, Count} = elixir_scope_capture_pipeline_journal:fold(fun(#{payload := _}, N) -> N + 1 end, 0, Reader),
%% {ok, #{any := false}} = elixir_scope_capture_pipeline_journal:losses(Reader),
%% ok = elixir_scope_capture_pipeline_journal:close(Reader).
%% '''
%%
%% A reader needs no pipeline, writes nothing, and may be used while the journal is written, by this VM or by another process. It may be used by several
%% Erlang processes: each event is given to one of them, and a call waits, in the calling process, until that of another process has ended. What a
%% call has read for a process that is killed meanwhile is given to no other one. A reader is closed by {@link close/1}, or with the last reference to it.
%% Files are read on the VM's dirty I/O schedulers.
%%
%% == Options of open/2 ==
%% <ul>
%% <li>`order': `stored' (the default): as the events lie in the files, which is the fastest; `time': by time, generation, ring and sequence.</li>
%% <li>`kinds', `correlation_ids': lists; only events that have one of them (a correlation id of 0 is none).</li>
%% <li>`from_realtime_ns', `to_realtime_ns': nanoseconds since 1970; `from_ns', `to_ns': the system's monotonic clock. From the first on, and before the
%% second.</li>
%% <li>`generation': only events of that run of a pipeline.</li>
%% <li>`follow': `true': go on with what is written after the reader was opened.</li>
%% <li>`payloads': `none': events have no payloads, but their sizes.</li>
%% <li>`memory_bytes': how much memory the reader may use: at least 16 MiB, 192 MiB by default.</li>
%% </ul>
%%
%% == Errors ==
%% `{error, {Reason, Text}}'; the text names the file or the option. `not_found': nothing is there. `invalid': the file is no segment, or an option
%% is outside its range. `unsupported': a segment of another version or byte order. `limit': `memory_bytes' is too little for so many blocks. `system',
%% `no_memory': the call may be made again. `closed': the reader is. `{error, {badarg, Key}}': an option that is unknown or of the wrong type, or `path'.
%% What is damaged or missing in a journal is no error: it is counted in {@link losses/1}, and the rest is read.
-module(elixir_scope_capture_pipeline_journal).

-export([open/1, open/2, next/2, next/3, fold/3, fold/4, definitions/1, losses/1, close/1, term/1, next_tuples/3]).
-export_type([reader/0, options/0, event/0, definition/0, losses/0, problem/0]).

%% reader_losses/0: written by `make header'.
-include("elixir_scope_capture_pipeline_lists.hrl").
%% The names of roles, types and hints, likewise.
-include("elixir_scope_capture_pipeline_kind.hrl").

-define(NIF, elixir_scope_capture_pipeline_nif).
-define(TEXT, elixir_scope_capture_pipeline_text).
-define(KIND, elixir_scope_capture_pipeline_kind).
%% How often a process looks for new events, in milliseconds, and the first and the longest wait for another process's call.
-define(LOOK, 10).
-define(BUSY, 1).
-define(LONG_BUSY, 16).
%% The events that fold/3 asks for at once.
-define(SOME, 256).
%% In a definition of the C API: no other kind, and the rest of the payload.
-define(NO_KIND, 16#FFFFFFFF).
-define(REST, 16#FFFFFFFF).
%% Flags of an event.
-define(PRIORITY, 1).
-define(OWN_TIME, 2).
%% The external term format: its version, and the tag of a compressed term.
-define(TERM_VERSION, 131).
-define(COMPRESSED, 80).

-type id() :: elixir_scope_capture_pipeline:id().
-opaque reader() :: reference().
-type options() :: #{
    order => stored | time,
    kinds => [elixir_scope_capture_pipeline:kind()],
    correlation_ids => [id()],
    from_ns => id(),
    to_ns => id(),
    from_realtime_ns => id(),
    to_realtime_ns => id(),
    generation => id(),
    follow => boolean(),
    payloads => binary | none,
    memory_bytes => pos_integer()
}.
-type event() :: #{
    kind := elixir_scope_capture_pipeline:kind(),
    payload := binary() | none,
    %% Of the payload.
    bytes := non_neg_integer(),
    %% Of the system's CLOCK_MONOTONIC at the capture, or the caller's own.
    timestamp_ns := id(),
    %% Since 1970.
    realtime_ns := id(),
    correlation_id := id(),
    node_id := id(),
    %% The run of the pipeline, the ring buffer, and the event's number there: its identity.
    generation := id(),
    ring_id := id(),
    sequence := id(),
    priority := boolean(),
    own_time := boolean(),
    %% How many captured events this one stands for.
    weight := float()
}.
%% Names are binaries. `undefined': the kind has a name and no definition, or one that this version does not know.
-type definition() :: #{
    generation := id(), kind := elixir_scope_capture_pipeline:kind(), name := unicode:unicode_binary(), definition := ?KIND:kind() | undefined
}.
-type losses() :: reader_losses().
-type problem() :: badarg | {atom(), unicode:unicode_binary() | term()}.

%% @equiv open(Path, #{})
-spec open(file:name_all()) -> {ok, reader()} | {error, problem()}.
open(Path) ->
    open(Path, #{}).

%% @doc Opens the journal in a directory, or a single segment, and reads the headers of its blocks. A directory without a segment is an empty journal.
-spec open(file:name_all(), options()) -> {ok, reader()} | {error, problem()}.
open(Path, Options) ->
    case ?TEXT:path(Path) of
        Binary when is_binary(Binary) -> ?NIF:reader_open(Binary, Options);
        error -> {error, {badarg, path}}
    end.

%% @equiv next(Reader, Most, infinity)
-spec next(reader(), pos_integer()) -> {ok, [event(), ...]} | done | timeout | {error, problem()}.
next(Reader, Most) ->
    next(Reader, Most, infinity).

%% @doc The next events: at least one, and at most `Most', 4096, and 1 MiB of payloads (a larger payload comes alone). `done': the last event was
%% given. A reader that follows the journal is never done: the calling process waits, and gets `timeout' if there is no event within so many
%% milliseconds.
-spec next(reader(), pos_integer(), timeout()) -> {ok, [event(), ...]} | done | timeout | {error, problem()}.
next(Reader, Most, Timeout) ->
    case next_tuples(Reader, Most, Timeout) of
        {ok, Events} -> {ok, [event(Event) || Event <- Events]};
        Other -> Other
    end.

%% @private
%% The same with events as the NIF makes them.
-spec next_tuples(reader(), pos_integer(), timeout()) -> {ok, [tuple(), ...]} | done | timeout | {error, problem()}.
next_tuples(Reader, Most, infinity) ->
    next_until(Reader, Most, infinity, ?BUSY);
next_tuples(Reader, Most, Timeout) when is_integer(Timeout), Timeout >= 0 ->
    next_until(Reader, Most, erlang:monotonic_time(millisecond) + Timeout, ?BUSY);
next_tuples(_Reader, _Most, _Timeout) ->
    {error, badarg}.

next_until(Reader, Most, Until, Busy) ->
    case ?NIF:reader_next(Reader, Most) of
        [_ | _] = Events ->
            {ok, Events};
        [] ->
            %% All events that the call has read were filtered out.
            next_until(Reader, Most, Until, ?BUSY);
        empty ->
            wait_and_next(Reader, Most, Until, ?LOOK, ?BUSY);
        {error, busy} ->
            wait_and_next(Reader, Most, Until, Busy, longer(Busy));
        Other ->
            Other
    end.

wait_and_next(Reader, Most, Until, Wait, Busy) ->
    case left(Until) of
        0 ->
            timeout;
        Left ->
            pause(min(Wait, Left)),
            next_until(Reader, Most, Until, Busy)
    end.

left(infinity) -> infinity;
left(Until) -> max(0, Until - erlang:monotonic_time(millisecond)).

longer(Busy) -> min(2 * Busy, ?LONG_BUSY).

pause(Milliseconds) ->
    receive
    after Milliseconds -> ok
    end.

event({Kind, Payload, Bytes, Time, Realtime, Correlation, Node, Generation, Ring, Sequence, Flags, Weight}) ->
    #{
        kind => Kind, payload => Payload, bytes => Bytes, timestamp_ns => Time, realtime_ns => Realtime, correlation_id => Correlation,
        node_id => Node, generation => Generation, ring_id => Ring, sequence => Sequence, priority => Flags band ?PRIORITY =/= 0,
        own_time => Flags band ?OWN_TIME =/= 0, weight => Weight
    }.

%% @doc Calls `Fun' for each event that is left, with the accumulator. A reader that follows the journal is never done with that.
-spec fold(fun((event(), Acc) -> Acc), Acc, reader()) -> {ok, Acc} | {error, problem()}.
fold(Fun, Acc, Reader) ->
    case next(Reader, ?SOME) of
        {ok, Events} -> fold(Fun, lists:foldl(Fun, Acc, Events), Reader);
        done -> {ok, Acc};
        {error, _} = Error -> Error
    end.

%% @doc Opens the journal, folds it, and closes it, also if `Fun' raises.
-spec fold(fun((event(), Acc) -> Acc), Acc, file:name_all(), options()) -> {ok, Acc} | {error, problem()}.
fold(Fun, Acc, Path, Options) ->
    case open(Path, Options) of
        {ok, Reader} ->
            try
                fold(Fun, Acc, Reader)
            after
                ok = close(Reader)
            end;
        {error, _} = Error ->
            Error
    end.

%% @doc The kinds that have a name or a definition, of all runs in the journal. All that is known when the reader is opened is there; a reader that
%% follows the journal may learn more.
-spec definitions(reader()) -> {ok, [definition()]} | {error, problem()}.
definitions(Reader) ->
    case patiently(fun() -> ?NIF:reader_definitions(Reader) end) of
        {ok, Kinds} -> {ok, [definition(Kind) || Kind <- Kinds]};
        {error, _} = Error -> Error
    end.

definition({Generation, Kind, Name, Native}) ->
    #{generation => Generation, kind => Kind, name => Name, definition => kind_of(Native)}.

kind_of(none) ->
    undefined;
kind_of({Number, Name, Category, Role, PairsWith, Key, Duration, Size, Fields}) ->
    try
        ?KIND:new(Number, [
            {name, Name}, {category, Category}, {role, key_of(Role, ?ROLES)}, {key, Key}, {duration, Duration},
            {fields, [field_of(Field) || Field <- Fields]}
            | [{pairs_with, PairsWith} || PairsWith =/= ?NO_KIND] ++ [{size, Size} || Size > 0]
        ])
    of
        {ok, Kind} -> Kind;
        {error, _} -> undefined
    catch
        throw:unknown -> undefined
    end.

field_of({Name, Type, Integer, Offset, Length, Unit, Hint, Values}) ->
    Of =
        case key_of(Type, ?TYPES) of
            enum ->
                Sort = key_of(Integer, ?TYPES),
                {enum, Sort, [{Label, enum_value(Sort, Value)} || {Value, Label} <- Values]};
            Sized when (Sized =:= string orelse Sized =:= bytes), Length =/= ?REST -> {Sized, Length};
            Sort -> Sort
        end,
    {Name, {Of, [{offset, Offset}, {unit, Unit}, {hint, key_of(Hint, ?HINTS)}]}}.

%% The C API has a value above 2^63 as a negative one.
enum_value(u64, Value) when Value < 0 -> Value + (1 bsl 64);
enum_value(_, Value) -> Value.

key_of(Number, Names) ->
    case [Name || {Name, N} <- maps:to_list(Names), N =:= Number] of
        [Name] -> Name;
        [] -> throw(unknown)
    end.

%% @doc What the reader could not give so far, as `pipeline_reader_losses_t' in `capture_pipeline.h': `any' tells whether something is lost, and
%% `details' has a line for each loss. It is complete when the last event was given.
-spec losses(reader()) -> {ok, losses()} | {error, problem()}.
losses(Reader) ->
    patiently(fun() -> ?NIF:reader_losses(Reader) end).

%% Again while another process's call is at work.
patiently(Call) -> patiently(Call, ?BUSY).

patiently(Call, Busy) ->
    case Call() of
        {error, busy} ->
            pause(Busy),
            patiently(Call, longer(Busy));
        Answer ->
            Answer
    end.

%% @doc Closes the reader, its files and its memory. If another process's call is at work, that call does so at its end. A closed reader stays closed.
-spec close(reader()) -> ok | {error, badarg}.
close(Reader) ->
    ?NIF:reader_close(Reader).

%% @doc The term of a payload that was captured as a term. Such a payload is in the external term format, and nothing marks it: a binary of the caller's
%% that is one in that format counts as one. `error': the payload is no term, or one that must not be decoded: it is compressed, or has atoms or
%% functions that this node does not know (an atom is known when a module that has it is loaded).
-spec term(binary()) -> {ok, term()} | error.
term(<<?TERM_VERSION, Tag, _/binary>> = Payload) when Tag =/= ?COMPRESSED ->
    try binary_to_term(Payload, [safe, used]) of
        {Term, Used} when Used =:= byte_size(Payload) -> {ok, Term};
        _ -> error
    catch
        error:_ -> error
    end;
term(_Payload) ->
    error.
