defmodule ElixirScope.Capture.Enrichment do
  @moduledoc false
  # What a writer adds to an event before it is stored.

  @typedoc "What the events of one batch have in common."
  @type common :: {at :: integer(), node(), correlate? :: boolean()}

  @doc "For a batch that is enriched now. Events without a correlation id get one if `correlate?`."
  @spec common(boolean()) :: common()
  def common(correlate?), do: {System.monotonic_time(:nanosecond), node(), correlate?}

  @doc """
  The same map or struct with `:enriched_at`, `:processed_by`, `:processing_order`, and a `:correlation_id` if it had none;
  what is no map as it is.
  """
  @spec enrich(term(), common()) :: term()
  def enrich(%{correlation_id: id} = event, {at, node, _}) when id != nil do
    :maps.merge(event, %{enriched_at: at, processed_by: node, processing_order: order()})
  end

  def enrich(%{} = event, {at, node, true}) do
    order = order()
    correlation_id = "corr_" <> Integer.to_string(order)

    :maps.merge(event, %{
      correlation_id: correlation_id,
      enriched_at: at,
      processed_by: node,
      processing_order: order
    })
  end

  def enrich(%{} = event, {at, node, false}) do
    :maps.merge(event, %{enriched_at: at, processed_by: node, processing_order: order()})
  end

  def enrich(event, _common), do: event

  defp order, do: :erlang.unique_integer([:positive])
end
