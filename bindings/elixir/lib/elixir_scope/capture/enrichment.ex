defmodule ElixirScope.Capture.Enrichment do
  @moduledoc false
  # What a writer adds to an event before it is stored.

  # A batch takes a unique integer of the VM's, and each of its events one of the numbers that belong to it: the VM's own cost more than
  # all the rest.
  @numbers 1_048_576

  @typedoc "What the events of one batch have in common."
  @type common :: {at :: integer(), node(), correlate? :: boolean(), base :: pos_integer()}

  @doc "For a batch that is enriched now. Events without a correlation id get one if `correlate?`."
  @spec common(boolean()) :: common()
  def common(correlate?), do: {System.monotonic_time(:nanosecond), node(), correlate?, base()}

  @doc """
  The same map or struct with `:enriched_at`, `:processed_by`, `:processing_order`, and a `:correlation_id` if it had none;
  what is no map as it is. `index` is the event's in its batch.
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
