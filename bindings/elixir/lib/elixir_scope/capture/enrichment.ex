defmodule ElixirScope.Capture.Enrichment do
  @moduledoc false
  # Adds keys to an event before it is stored.

  # A batch takes one unique integer from the VM, which stands for a block of numbers, one for each event. A unique integer for each event would
  # cost more than the rest of the enrichment.
  @numbers 1_048_576

  @typedoc "The values that all events of a batch share."
  @type common :: {at :: integer(), node(), correlate? :: boolean(), base :: pos_integer()}

  @doc "The shared values of a batch that is enriched now. With `correlate?` an event without a correlation id gets one."
  @spec common(boolean()) :: common()
  def common(correlate?), do: {System.monotonic_time(:nanosecond), node(), correlate?, base()}

  @doc """
  The map or struct with `:enriched_at`, `:processed_by`, `:processing_order`, and a `:correlation_id` if it had none. Any other term is returned
  unchanged. `index`: that of the event in its batch.
  """
  @spec enrich(term(), common(), non_neg_integer()) :: term()
  def enrich(%{correlation_id: id} = event, {at, node, _, base}, index) when id != nil do
    :maps.merge(event, %{enriched_at: at, processed_by: node, processing_order: order(base, index)})
  end

  def enrich(%{} = event, {at, node, true, base}, index) do
    order = order(base, index)
    correlation_id = "corr_" <> Integer.to_string(order)

    :maps.merge(event, %{
      correlation_id: correlation_id,
      enriched_at: at,
      processed_by: node,
      processing_order: order
    })
  end

  def enrich(%{} = event, {at, node, false, base}, index) do
    :maps.merge(event, %{enriched_at: at, processed_by: node, processing_order: order(base, index)})
  end

  def enrich(event, _common, _index), do: event

  defp order(base, index) when index < @numbers, do: base + index
  defp order(_base, _index), do: base()

  defp base, do: :erlang.unique_integer([:positive]) * @numbers
end
