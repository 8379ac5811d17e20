defmodule ElixirScope.Capture.MCP.Control do
  @moduledoc false
  # `health` and `metrics`, and the tools that change a pipeline: `scale` and `update_config`.

  alias ElixirScope.Capture.{Capture, EtsStorage, Options, PipelineManager}
  alias ElixirScope.Capture.MCP.{Plain, Source}
  alias :elixir_scope_capture_pipeline, as: Pipeline

  # Of figures and health: far more than there is.
  @most_bytes 262_144
  @ledger ~w(captured recovered dropped_full dropped_sampled dropped_rule refused_too_large refused_closed refused_invalid refused_busy refused_no_ring
             stored filtered dead_lettered discarded overwritten buffered in_flight in_doubt left)a
  @most_writers 256

  @doc "The health of the pipeline, and whether its events can be read."
  @spec health(ElixirScope.Capture.MCP.target(), Source.t()) :: {:ok, map()} | {:error, String.t()}
  def health(%Capture{} = capture, source) do
    with {:ok, health} <- told(Capture.health(capture)),
         do: {:ok, health |> plain() |> Map.put("storage", Source.describe(source))}
  end

  def health(manager, source),
    do: {:ok, manager |> PipelineManager.health_check() |> plain() |> Map.put("storage", Source.describe(source))}

  @doc "The figures of the pipeline; the ledger of its capture, if it has one; and those of the storage, if it is in tables."
  @spec metrics(ElixirScope.Capture.MCP.target(), Source.t()) :: {:ok, map()} | {:error, String.t()}
  def metrics(%Capture{} = capture, _source) do
    with {:ok, metrics} <- told(Capture.metrics(capture)),
         do: {:ok, %{"metrics" => metrics |> Map.drop([:offered | @ledger]) |> plain(), "ledger" => ledger(metrics)}}
  end

  def metrics(manager, source) do
    with %{} = metrics <- PipelineManager.get_metrics(manager) do
      storage = with {:ets, storage} <- source, do: plain(EtsStorage.stats(storage)), else: (_ -> nil)
      {:ok, %{"metrics" => plain(metrics), "ledger" => ledger_of(manager), "storage" => storage}}
    else
      {:error, _} = error -> told(error)
    end
  end

  defp ledger_of(manager) do
    with %{config: config, children: [_ | _]} <- PipelineManager.get_state(manager),
         %Capture{} = capture <- Options.source(config),
         {:ok, metrics} <- Capture.metrics(capture) do
      ledger(metrics)
    else
      _ -> nil
    end
  end

  defp ledger(metrics), do: %{"offered" => metrics.offered, "counts" => metrics |> Map.take(@ledger) |> plain()}

  @doc "Sets the number of writers."
  @spec scale(ElixirScope.Capture.MCP.target(), non_neg_integer()) :: {:ok, map()} | {:error, String.t()}
  def scale(%Capture{storage: nil}, _workers),
    do: {:error, "workers: the batches of this capture go to processes; scale its manager"}

  def scale(%Capture{}, workers) when workers > @most_writers,
    do: {:error, "workers: an integer from 0 to #{@most_writers} expected, #{workers} given"}

  def scale(%Capture{} = capture, workers) do
    native = Capture.pipeline(capture)

    with {:ok, %{writers: before}} <- told(Pipeline.config(native)),
         :ok <- told(Pipeline.scale(native, workers)),
         do: {:ok, %{"workers" => workers, "before" => before}}
  end

  def scale(manager, workers),
    do: update(manager, %{async_writer_pool_size: workers}, &%{"workers" => workers, "before" => &1})

  @doc "Changes options of the running pipeline: all that are given, or none."
  @spec update_config(ElixirScope.Capture.MCP.target(), map()) :: {:ok, map()} | {:error, String.t()}
  def update_config(_target, given) when given == %{},
    do: {:error, "arguments: none is given; give the options that are to change"}

  def update_config(%Capture{} = capture, given) do
    native = Capture.pipeline(capture)

    with {:ok, before} <- told(Pipeline.config(native)),
         :ok <- told(Pipeline.update(native, given)),
         {:ok, config} <- told(Pipeline.config(native)),
         do: {:ok, changed(given, before, config)}
  end

  def update_config(manager, given) do
    before = PipelineManager.get_state(manager)
    update(manager, given, fn _ -> changed(given, before.config, PipelineManager.get_state(manager).config) end)
  end

  defp update(manager, given, answer) do
    before = PipelineManager.get_state(manager)

    case PipelineManager.update_config(manager, given) do
      :ok -> {:ok, answer.(before.config[:async_writer_pool_size])}
      {:error, :not_running} -> {:error, "the pipeline does not run"}
      {:error, {:invalid_config, key, value}} -> {:error, "#{key}: #{inspect(value, structs: false)} is not allowed"}
      {:error, _} = error -> told(error)
    end
  end

  defp changed(given, before, config) do
    keys = Map.keys(given)
    %{"config" => config |> Map.take(keys) |> plain(), "before" => before |> Map.take(keys) |> plain()}
  end

  defp plain(map), do: map |> Plain.of(@most_bytes) |> elem(0)

  # An error of the library, as text.
  defp told({:error, {name, text}}) when is_atom(name) and is_binary(text), do: {:error, "#{name}: #{text}"}
  defp told({:error, {:remote, node, reason}}), do: {:error, "the node #{node} cannot be asked: #{inspect(reason)}"}
  defp told({:error, reason}), do: {:error, inspect(reason, limit: 10, structs: false)}
  defp told(fine), do: fine
end
