%% @private
%% Names and paths as the NIF takes them.
-module(elixir_scope_capture_pipeline_text).

-export([named/1, text/1, path/1]).

%% A configuration whose name is a binary. A name that is no text stays as it is, so that the NIF refuses it.
-spec named(Config) -> Config when Config :: term().
named(#{name := Name} = Config) -> Config#{name := text(Name)};
named(Config) -> Config.

-spec text(term()) -> term().
text(Name) when is_atom(Name) -> atom_to_binary(Name, utf8);
text(Name) when is_list(Name) ->
    try unicode:characters_to_binary(Name) of
        Binary when is_binary(Binary) -> Binary;
        _ -> Name
    catch
        error:_ -> Name
    end;
text(Name) -> Name.

-spec path(term()) -> binary() | error.
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
