%% @private
%% The native functions as they are. Applications use {@link elixir_scope_capture_pipeline} or the Elixir modules.
-module(elixir_scope_capture_pipeline_nif).

-on_load(load/0).
-nifs([]).

-define(APPLICATION, elixir_scope_capture_pipeline).
-define(NOT_LOADED, erlang:nif_error({not_loaded, ?MODULE})).

load() ->
    load(candidates(), {load_failed, "no shared object found"}).

%% The first that exists is the one; what is wrong with it is told.
load([], Reason) ->
    {error, Reason};
load([Path | Rest], Reason) ->
    case filelib:is_regular(Path ++ ".so") of
        true -> erlang:load_nif(Path, 0);
        false -> load(Rest, Reason)
    end.

%% The application's priv directory; where there is no application, beside the directory of the beam files or in it.
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

%% ---- cursors and rings ----

%% ---- pipelines, captures, delivery ----
