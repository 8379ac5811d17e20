defmodule CapturePipeline.Bench.Event do
  @moduledoc """
  What a tracer of function calls captures: the event on which everything is measured. 64 words, as `:erts_debug.flat_size/1` counts.
  """

  defstruct [
    :id,
    :timestamp,
    :module,
    :function,
    :arity,
    :event_type,
    :args,
    :return_value,
    :duration_ns,
    :caller_pid,
    :correlation_id,
    :ast_node_id
  ]

  @type t :: %__MODULE__{}

  @doc "A new one, its number in `arity` and in its id."
  @spec new(non_neg_integer()) :: t()
  def new(number) do
    %__MODULE__{
      id: "exec-" <> String.pad_leading(Integer.to_string(number), 19, "0"),
      timestamp: System.monotonic_time(:nanosecond),
      module: Enum,
      function: :map_reduce,
      arity: number,
      event_type: :call,
      args: [%{user: 42, plan: :free}, "a short text"],
      return_value: {:ok, 6},
      duration_ns: 1_234,
      caller_pid: self(),
      correlation_id: "corr-0123456789abcdef",
      ast_node_id: "lib/shop/cart.ex:42"
    }
  end

  @doc "A binary of 64 bytes."
  @spec binary(non_neg_integer()) :: binary()
  def binary(number), do: <<number::64, 0::448>>
end
