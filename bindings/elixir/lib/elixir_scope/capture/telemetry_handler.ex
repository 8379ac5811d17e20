defmodule ElixirScope.Capture.TelemetryHandler do
  @moduledoc """
  Captures the events of `:telemetry`: what Phoenix, Ecto, Oban, Finch and others tell about themselves.

      {:ok, id} = ElixirScope.Capture.TelemetryHandler.attach(capture, [[:my_app, :repo, :query], [:phoenix, :endpoint, :stop]])
      :ok = ElixirScope.Capture.TelemetryHandler.detach(id)

  The handler runs in the process that executes the event, and costs it a capture. It never raises, exits or throws, and never waits: `:telemetry` detaches a
  handler that fails. An event that is dropped or refused is counted in `ElixirScope.Capture.Capture.metrics/1`.

  ## Events

  A writer hands the storage a map:

      %{
        event_type: :telemetry,
        name: [:my_app, :repo, :query],
        measurements: %{total_time: 1_200_000},
        metadata: %{source: "users"},
        pid: pid,                  # that has executed the event
        id: ..., timestamp: ..., wall_time: ...
      }

  Measurements and metadata are captured as they are, up to the capture's `:max_event_bytes`. With `metadata: [:source, :result]` only these keys of the metadata are; metadata
  often has whole structs, such as a connection. A native storage has a tuple `{ElixirScope.Capture.TelemetryHandler, name, measurements, metadata, pid}` in
  the external term format, of the kind `kind/0`, whose name is `telemetry`.

  ## Options of `attach/3`

    * `:metadata`: the keys that are captured, or `:all` (the default);
    * `:id`: of the handler, any term; by default one of its own;
    * `:dispatcher`: a module with `attach_many/4` and `detach/1` as `:telemetry` (the default) has them. It is found at run time: this package does not depend on `:telemetry`.
  """

  alias ElixirScope.Capture.Capture

  @kind 0x7FFE0200

  @doc "Attaches a handler for these events. `{:error, :not_available}`: `:telemetry` is not there. `{:error, :already_exists}`: there is a handler with that id."
  @spec attach(Capture.t(), [[atom()]], keyword()) ::
          {:ok, id :: term()} | {:error, :not_available | :already_exists | {:invalid, atom()} | term()}
  def attach(%Capture{} = capture, events, options \\ []) when is_list(events) and is_list(options) do
    dispatcher = Keyword.get(options, :dispatcher, :telemetry)
    id = Keyword.get_lazy(options, :id, fn -> {__MODULE__, make_ref()} end)
    metadata = Keyword.get(options, :metadata, :all)

    cond do
      Keyword.keys(options) -- [:dispatcher, :id, :metadata] != [] ->
        {:error, {:invalid, hd(Keyword.keys(options) -- [:dispatcher, :id, :metadata])}}

      metadata != :all and not is_list(metadata) ->
        {:error, {:invalid, :metadata}}

      not (is_atom(dispatcher) and Code.ensure_loaded?(dispatcher) and function_exported?(dispatcher, :attach_many, 4)) ->
        {:error, :not_available}

      true ->
        attach(dispatcher, id, capture, events, metadata)
    end
  end

  defp attach(dispatcher, id, capture, events, metadata) do
    _ = :elixir_scope_capture_pipeline.kind_name(Capture.pipeline(capture), @kind, "telemetry")

    # A function of a module, because :telemetry warns of others: they are slower.
    case dispatcher.attach_many(id, events, &__MODULE__.handle/4, {capture, metadata}) do
      :ok -> {:ok, id}
      {:error, _} = error -> error
    end
  catch
    # The dispatcher is loaded, but not started.
    _, _ -> {:error, :not_available}
  end

  @doc "Detaches a handler. `dispatcher`: that of `attach/3`."
  @spec detach(id :: term(), module()) :: :ok | {:error, :not_found | :not_available}
  def detach(id, dispatcher \\ :telemetry) do
    if Code.ensure_loaded?(dispatcher), do: dispatcher.detach(id), else: {:error, :not_available}
  catch
    _, _ -> {:error, :not_available}
  end

  @doc """
  The kind of the events.

      iex> ElixirScope.Capture.TelemetryHandler.kind()
      0x7FFE0200
  """
  @spec kind() :: Capture.kind()
  def kind, do: @kind

  @doc false
  @spec handle([atom()], map(), map(), {Capture.t(), :all | [term()]}) :: :ok
  def handle(name, measurements, metadata, {capture, keys}) do
    _ = Capture.event(capture, @kind, {__MODULE__, name, measurements, chosen(metadata, keys), self()})
    :ok
  catch
    # Such as metadata that is no map. The caller goes on whatever happens here.
    _, _ -> :ok
  end

  defp chosen(metadata, :all), do: metadata
  defp chosen(metadata, keys), do: Map.take(metadata, keys)

  @doc false
  @spec map(tuple()) :: map()
  def map({__MODULE__, name, measurements, metadata, pid}),
    do: %{event_type: :telemetry, name: name, measurements: measurements, metadata: metadata, pid: pid}
end
