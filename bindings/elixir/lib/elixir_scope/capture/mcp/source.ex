defmodule ElixirScope.Capture.MCP.Source do
  @moduledoc false
  # Where the stored events of a pipeline can be read: what the user names, or what the pipeline stores into. No storage is asked anything that it may not know: an
  # unknown call ends a server.

  alias ElixirScope.Capture.{Capture, EtsStorage, NativeStorage, Options, PipelineManager}

  @typedoc "`:ets`: in tables of this node; `:journal`: in a directory; `:function`: by the caller's own function; `:none`: nowhere, with the reason."
  @type t ::
          {:ets, EtsStorage.t()}
          | {:journal, Path.t()}
          | {:function, (map() -> term())}
          | {:none, storage :: String.t(), reason :: String.t()}

  @hint "give the option :events of MCP.tools/2 a function that reads them"

  @doc "What the option `:events` may be."
  @spec valid?(term()) :: boolean()
  def valid?(events),
    do:
      is_nil(events) or is_binary(events) or is_function(events, 1) or is_struct(events, EtsStorage) or
        is_struct(events, NativeStorage)

  @doc "The source of a pipeline's events."
  @spec of(ElixirScope.Capture.MCP.target(), events :: term()) :: t()
  def of(_target, function) when is_function(function, 1), do: {:function, function}
  def of(_target, path) when is_binary(path), do: {:journal, path}
  def of(_target, events) when events != nil, do: of_storage(events)

  def of(%Capture{storage: nil}, nil),
    do: {:none, "none", "this capture has no storage of its own; give the tools its manager"}

  def of(%Capture{storage: storage}, nil), do: of_storage(storage)

  def of(manager, nil) do
    case PipelineManager.get_state(manager) do
      %{children: []} -> {:none, "none", "the pipeline does not run"}
      %{config: config} -> of_config(config, manager)
      {:error, reason} -> {:none, "unknown", "the pipeline's node cannot be asked: #{inspect(reason)}"}
    end
  end

  defp of_config(config, manager) do
    case Options.source(config) do
      %Capture{storage: %NativeStorage{} = storage} -> of_storage(storage)
      _ -> manager |> PipelineManager.get_storage() |> of_storage()
    end
  end

  defp of_storage(%EtsStorage{} = storage), do: {:ets, storage}
  defp of_storage(%NativeStorage{kind: :journal, path: path}), do: {:journal, to_string(path)}

  defp of_storage(%NativeStorage{kind: :sqlite, path: path}) do
    {:none, "sqlite",
     "they are in the SQLite database #{path}, which this VM cannot read; ask it by SQL (its view is events_view), or #{@hint}"}
  end

  defp of_storage(%NativeStorage{kind: :perfetto, path: path}) do
    {:none, "perfetto", "they are in the traces #{path}, which Perfetto's viewer opens; for others #{@hint}"}
  end

  defp of_storage(nil), do: {:none, "none", "the pipeline does not run"}

  defp of_storage(function) when is_function(function),
    do: {:none, "function", "the storage is a function, which only stores; #{@hint}"}

  defp of_storage(other) do
    {:none, "other",
     "the storage #{inspect(other, limit: 8, printable_limit: 64, structs: false)} only stores; #{@hint}"}
  end

  @doc "What `health` says of it."
  @spec describe(t()) :: map()
  def describe({:ets, storage}), do: %{"kind" => "ets", "readable" => true, "events" => EtsStorage.count(storage)}
  def describe({:journal, path}), do: %{"kind" => "journal", "readable" => true, "path" => path}
  def describe({:function, _}), do: %{"kind" => "function", "readable" => true}

  def describe({:none, kind, reason}),
    do: %{"kind" => kind, "readable" => false, "problem" => "events cannot be read: " <> reason}
end
