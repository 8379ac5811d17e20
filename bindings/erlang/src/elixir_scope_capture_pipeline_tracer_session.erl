%% @private
%% What a tracer sets in the VM, and how it is cleared. On OTP 27 and later each tracer has a trace session. Before, the VM has one tracer for a process and one
%% match specification for a function, whoever set them: a function that is traced already is refused, and only what is ours is cleared.
-module(elixir_scope_capture_pipeline_tracer_session).

-export([new/2, clear/1, claim_calls/4, set_calls/2, untrace_calls/2, trace_processes/3, untrace_processes/2]).
-export_type([session/0, functions/0]).

-define(NIF, elixir_scope_capture_pipeline_nif).

-type functions() :: {module(), atom(), arity() | '_'}.
%% `way': the VM's own session, or `shared'. `ours': what is set now; with `shared' also the functions that were there then.
-type session() :: #{
    way := {session, term()} | shared,
    native := reference(),
    ours := #{functions() => {Spec :: true | [tuple()], Flags :: [local | global], [mfa()]}}
}.

%% The module trace is there on OTP 27 and later.
-spec session_call(atom(), [term()]) -> term().
session_call(Function, Arguments) -> vm_call(trace, Function, Arguments).

-spec vm_call(module(), atom(), [term()]) -> term().
vm_call(Module, Function, Arguments) -> apply(Module, Function, Arguments).

-spec new(atom(), reference()) -> session().
new(Name, Native) ->
    Way =
        case code:ensure_loaded(trace) =:= {module, trace} andalso erlang:function_exported(trace, session_create, 3) of
            true -> {session, session_call(session_create, [Name, {?NIF, Native}, []])};
            false -> shared
        end,
    #{way => Way, native => Native, ours => #{}}.

%% Nothing is set any more. Called when the native tracer has stopped, so that no new trace comes.
-spec clear(session()) -> ok.
clear(#{way := {session, Session}}) ->
    _ = session_call(session_destroy, [Session]),
    ok;
clear(#{way := shared, ours := Ours} = State) ->
    ok = untrace_processes(State, all),
    lists:foreach(fun({Functions, Set}) -> clear_calls(Functions, Set) end, maps:to_list(Ours)).

%% ---- calls ----

%% Whether the calls may be traced: the state in which they are. Nothing is set yet, so that the caller can first tell the process that clears.
-spec claim_calls(session(), functions(), true | [tuple()], [local | global]) -> {ok, session()} | {error, {in_use, mfa()}}.
claim_calls(#{way := {session, _}, ours := Ours} = State, Functions, Spec, Flags) ->
    {ok, State#{ours := Ours#{Functions => {Spec, Flags, []}}}};
claim_calls(#{way := shared, ours := Ours} = State, Functions, Spec, Flags) ->
    Loaded = loaded(Functions),
    Mine = sets:from_list(case Ours of #{Functions := {_, _, Before}} -> Before; #{} -> [] end),
    case [Function || Function <- Loaded, is_traced(Function), not sets:is_element(Function, Mine)] of
        [] -> {ok, State#{ours := Ours#{Functions => {Spec, Flags, Loaded}}}};
        [Function | _] -> {error, {in_use, Function}}
    end.

%% Sets what was claimed.
-spec set_calls(session(), functions()) -> {ok, non_neg_integer()} | {error, {invalid, match_spec}}.
set_calls(#{way := Way, ours := Ours}, Functions) ->
    #{Functions := {Spec, Flags, _}} = Ours,
    try
        {ok, pattern(Way, Functions, Spec, Flags)}
    catch
        error:badarg -> {error, {invalid, match_spec}}
    end.

-spec untrace_calls(session(), functions()) -> session().
untrace_calls(#{way := Way, ours := Ours} = State, Functions) ->
    case Ours of
        #{Functions := Set} when Way =:= shared -> clear_calls(Functions, Set);
        #{Functions := {_, Flags, _}} -> pattern(Way, Functions, false, Flags);
        #{} -> ok
    end,
    State#{ours := maps:remove(Functions, Ours)}.

pattern({session, Session}, Functions, Spec, Flags) -> session_call(function, [Session, Functions, Spec, Flags]);
pattern(shared, Functions, Spec, Flags) -> erlang:trace_pattern(Functions, Spec, Flags).

%% All at once where another tool has set none of them meanwhile, otherwise one by one.
clear_calls(Functions, {Spec, Flags, Covered}) ->
    Mine = sets:from_list(Covered),
    {Ours, Others} =
        lists:partition(fun(F) -> sets:is_element(F, Mine) andalso is_ours(F, Spec) end, [F || F <- loaded(Functions), is_traced(F)]),
    lists:foreach(fun(F) -> erlang:trace_pattern(F, false, Flags) end, case Others of [] -> [Functions]; _ -> Ours end).

is_traced(Function) ->
    case erlang:trace_info(Function, traced) of
        {traced, How} when How =:= local; How =:= global -> true;
        _ -> false
    end.

is_ours(Function, true) -> erlang:trace_info(Function, match_spec) =:= {match_spec, []};
is_ours(Function, Spec) -> erlang:trace_info(Function, match_spec) =:= {match_spec, Spec}.

%% The functions that are loaded now.
loaded({'_', Function, Arity}) ->
    lists:append([loaded({Module, Function, Arity}) || {Module, _} <- code:all_loaded()]);
loaded({Module, Function, Arity}) ->
    try Module:module_info(functions) of
        All -> [{Module, F, A} || {F, A} <- All, Function =:= '_' orelse F =:= Function, Arity =:= '_' orelse A =:= Arity]
    catch
        error:undef -> []
    end.

%% ---- processes and ports ----

-spec trace_processes(session(), term(), [atom()]) -> {ok, non_neg_integer()} | {error, {in_use | invalid, term()}}.
trace_processes(#{way := Way, native := Native} = State, Which, Flags) ->
    try
        {ok, traced(Way, Native, Which, Flags)}
    catch
        error:badarg -> {error, {reason(State, Which), Which}}
    end.

traced({session, Session}, _Native, Which, Flags) when is_port(Which); Which =:= all_ports; Which =:= existing_ports; Which =:= new_ports ->
    session_call(port, [Session, named(Which), true, Flags]);
traced({session, Session}, _Native, Which, Flags) when Which =:= all; Which =:= existing; Which =:= new ->
    session_call(process, [Session, Which, true, Flags]) ;
traced({session, Session}, _Native, Which, Flags) ->
    session_call(process, [Session, named(Which), true, Flags]);
traced(shared, Native, Which, Flags) ->
    erlang:trace(Which, true, [{tracer, ?NIF, Native} | Flags]).

%% A session's functions for processes and for ports have names without the kind.
named(all_processes) -> all;
named(existing_processes) -> existing;
named(new_processes) -> new;
named(all_ports) -> all;
named(existing_ports) -> existing;
named(new_ports) -> new;
named(Which) -> Which.

reason(#{way := shared} = State, Which) when is_pid(Which); is_port(Which) ->
    case tracer_of(Which) of
        {tracer, []} -> invalid;
        undefined -> invalid;
        Tracer -> case Tracer =:= ours(State) of true -> invalid; false -> in_use end
    end;
reason(_State, _Which) ->
    invalid.

ours(#{native := Native}) -> {tracer, {?NIF, Native}}.

%% The VM's specification says {tracer, Module, State}, but its answer is {tracer, {Module, State}}.
-spec tracer_of(term()) -> term().
tracer_of(Which) -> vm_call(erlang, trace_info, [Which, tracer]).

-spec untrace_processes(session(), term()) -> ok.
untrace_processes(#{way := {session, Session}}, Which) ->
    Function = case is_port(Which) orelse lists:member(Which, [all_ports, existing_ports, new_ports]) of true -> port; false -> process end,
    try session_call(Function, [Session, named(Which), false, [all]]) of
        _ -> ok
    catch
        error:badarg -> ok
    end;
untrace_processes(#{way := shared, native := Native} = State, Which) ->
    {Existing, New} = parts(Which),
    %% With a tracer, the VM clears the flags of that tracer's processes only. The tracer of new ones it would clear whoever has set it.
    Clear = fun(What) -> try erlang:trace(What, false, [all, {tracer, ?NIF, Native}]) of _ -> ok catch error:badarg -> ok end end,
    lists:foreach(fun(What) -> tracer_of(What) =:= ours(State) andalso Clear(What) end, New),
    lists:foreach(Clear, Existing).

parts(all) -> {[existing], [new_processes, new_ports]};
parts(all_processes) -> {[existing_processes], [new_processes]};
parts(all_ports) -> {[existing_ports], [new_ports]};
parts(new) -> {[], [new_processes, new_ports]};
parts(New) when New =:= new_processes; New =:= new_ports -> {[], [New]};
parts(Which) -> {[Which], []}.
