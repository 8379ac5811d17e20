defmodule ElixirScope.Capture.Capture.UnderLoad do
  @moduledoc false
  # What a capture is told for the time of load: rules and attributes at its start, and events that matter more than others.

  alias ElixirScope.Capture.{Capture, Options, Rules}
  alias :elixir_scope_capture_pipeline, as: Pipeline
  alias :elixir_scope_capture_pipeline_wait, as: Wait

  @offered [:kind, :correlation_id, :node_id, :timestamp_ns, :priority]

  @doc "Sets the rules and attributes of a new capture. If one is refused, the capture ends."
  @spec begin(Capture.t(), map()) :: {:ok, Capture.t()} | {:error, term()}
  def begin(capture, options) do
    with :ok <- rules(capture, options[:rules]),
         :ok <- attributes(capture, options[:attributes]) do
      {:ok, capture}
    else
      {:error, _} = error ->
        _ = Capture.close(capture, 0)
        error
    end
  end

  defp rules(_capture, nil), do: :ok
  defp rules(capture, {:file, path}), do: Rules.load(capture, path)
  defp rules(capture, rules), do: Rules.set(capture, rules)

  defp attributes(_capture, nil), do: :ok

  defp attributes(capture, attributes) when is_map(attributes) or is_list(attributes) do
    Enum.reduce_while(attributes, :ok, fn
      {name, value}, :ok ->
        case Capture.attribute(capture, name, value) do
          :ok -> {:cont, :ok}
          {:error, :badarg} -> {:halt, {:error, {:badarg, {:attributes, name}}}}
          error -> {:halt, error}
        end

      _, :ok ->
        {:halt, {:error, {:badarg, :attributes}}}
    end)
  end

  defp attributes(_capture, _attributes), do: {:error, {:badarg, :attributes}}

  @doc "Gives those of a manager's options to its capture that are the capture's own. A capture that cannot take them, because it is closed, goes on as it is."
  @spec configure(source :: term(), map()) :: :ok
  def configure(%Capture{} = capture, config) do
    given =
      for {key, value} <- config,
          key in Options.capture_keys(),
          Options.check(%{key => value}) == :ok,
          into: %{},
          do: {key, value}

    _ = if given != %{}, do: Capture.update(capture, given)
    :ok
  end

  def configure(_source, _config), do: :ok

  @doc "See `Capture.offer/3`."
  @spec offer(Capture.t(), term(), keyword() | map()) :: Capture.answer()
  def offer(%Capture{native: native, block_ms: block_ms}, term, options) do
    event = options |> Options.to_map() |> Map.put(:payload, term)

    if Map.keys(event) -- [:payload | @offered] == [],
      do: Wait.for_space(native, fn -> Pipeline.capture_event(native, event) end, block_ms),
      else: {:error, :badarg}
  end
end
