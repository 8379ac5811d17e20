defmodule ElixirScope.Capture.Enrichment do
  @moduledoc false
  # What a writer adds to an event before it is stored.

  @doc """
  The same map or struct with `:enriched_at`, `:processed_by`, `:processing_order`, and a `:correlation_id` if it had none;
  what is no map as it is.
  """
  @spec enrich(term(), boolean()) :: term()
  def enrich(event, correlate? \\ true)

  def enrich(%{} = event, correlate?) do
    added = %{
      enriched_at: System.monotonic_time(:nanosecond),
      processed_by: node(),
      processing_order: :erlang.unique_integer([:positive])
    }

    added =
      case event do
        %{correlation_id: id} when id != nil -> added
        _ when correlate? -> Map.put(added, :correlation_id, correlation_id(added.processing_order))
        _ -> added
      end

    :maps.merge(event, added)
  end

  def enrich(event, _correlate?), do: event

  defp correlation_id(number), do: "corr_" <> Integer.to_string(number)
end
