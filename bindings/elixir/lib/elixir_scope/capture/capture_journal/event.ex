defmodule ElixirScope.Capture.CaptureJournal.Event do
  @moduledoc """
  An event of a journal.

    * `kind`, and its `name`, if the journal has one;
    * `payload`, and the `form` in which it is given:
      * `:fields`: a map of the fields of a typed kind;
      * `:term`: the term that was captured;
      * `:binary`: the bytes that were captured;
      * `:undecoded`: bytes that begin like a term and are none that may be decoded here: the term has atoms or functions that this node does not
        know, or is compressed, or it is a binary of the caller's;
      * `:none`: `nil`, because payloads were not asked for;
    * `bytes`: the size of the payload in the journal;
    * `timestamp`: the system's monotonic clock at the capture, or the caller's own time (`own_time`), in nanoseconds; `wall_time`: the same in
      nanoseconds since 1970;
    * `correlation_id`, `node_id`: as captured; 0 is none;
    * `identity`: `{generation, ring, sequence}`: the run of the pipeline, the ring buffer, and the number of the event in it. No two events have the same;
    * `priority`: whether it was captured as urgent; `weight`: how many captured events it stands for.
  """

  alias ElixirScope.Capture.Capture.Event, as: Helper
  alias ElixirScope.Capture.CaptureKind
  alias :elixir_scope_capture_pipeline_journal, as: Journal

  import Bitwise

  @enforce_keys [:kind, :payload, :form, :bytes, :timestamp, :wall_time, :identity]
  defstruct [
    :kind,
    :name,
    :payload,
    :form,
    :bytes,
    :timestamp,
    :wall_time,
    :identity,
    correlation_id: 0,
    node_id: 0,
    priority: false,
    own_time: false,
    weight: 1.0
  ]

  @type form :: :fields | :term | :binary | :undecoded | :none
  @type t :: %__MODULE__{
          kind: ElixirScope.Capture.Capture.kind(),
          name: String.t() | nil,
          payload: term(),
          form: form(),
          bytes: non_neg_integer(),
          timestamp: non_neg_integer(),
          wall_time: non_neg_integer(),
          identity: {generation :: pos_integer(), ring :: pos_integer(), sequence :: non_neg_integer()},
          correlation_id: ElixirScope.Capture.Capture.id(),
          node_id: ElixirScope.Capture.Capture.id(),
          priority: boolean(),
          own_time: boolean(),
          weight: float()
        }

  @typedoc false
  @type kinds :: %{{generation :: integer(), number :: integer()} => {String.t() | nil, CaptureKind.t() | nil}}

  @priority 1
  @own_time 2
  # The first byte of the external term format.
  @term 131

  @doc false
  # The event of a tuple that the NIF has made.
  @spec new(tuple(), kinds(), ElixirScope.Capture.CaptureJournal.Options.t()) :: t()
  def new(
        {number, payload, bytes, timestamp, wall_time, correlation_id, node_id, generation, ring, sequence, flags,
         weight},
        kinds,
        %{payloads: payloads, definitions: given}
      ) do
    {name, kind} = with nil <- kinds[{generation, number}], do: {nil, given[number]}

    event = %__MODULE__{
      kind: number,
      name: name,
      payload: payload,
      form: :binary,
      bytes: bytes,
      timestamp: timestamp,
      wall_time: wall_time,
      correlation_id: correlation_id,
      node_id: node_id,
      identity: {generation, ring, sequence},
      priority: (flags &&& @priority) != 0,
      own_time: (flags &&& @own_time) != 0,
      weight: weight
    }

    case payloads do
      :terms -> decode(event, kind)
      :binary -> event
      :none -> %{event | payload: nil, form: :none}
    end
  end

  defp decode(event, %CaptureKind{} = kind) do
    {:ok, fields} = CaptureKind.decode(kind, event.payload)
    %{event | payload: fields, form: :fields}
  end

  defp decode(%{payload: <<@term, _::binary>> = payload} = event, nil) do
    case Journal.term(payload) do
      {:ok, term} -> %{event | payload: build(term, event), form: :term}
      :error -> %{event | form: :undecoded}
    end
  end

  defp decode(event, nil), do: event

  # The small tuples of the helpers (`Capture.ingest_function_call/6` and so on) are maps for whoever reads them, as they are for a writer.
  defp build(tuple, event) when is_tuple(tuple) and tuple_size(tuple) > 0 and elem(tuple, 0) == Helper,
    do: Helper.build(tuple, Map.take(event, [:timestamp, :wall_time, :kind, :correlation_id, :node_id]), event.identity)

  defp build(term, _event), do: term
end
