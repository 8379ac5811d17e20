defmodule CapturePipeline.Test.Sources do
  @moduledoc false
  # The three kinds of source of a pipeline, behind one interface.

  alias CapturePipeline.Test.ForeignRing
  alias ElixirScope.Capture.{Capture, NativeRingBuffer}

  def kinds, do: [:foreign, :native, :capture]
  def rings, do: [:foreign, :native]

  def new(kind, opts \\ [])

  def new(:foreign, opts) do
    {:ok, ring} = ForeignRing.new(opts)
    ring
  end

  def new(:native, opts) do
    {:ok, ring} = NativeRingBuffer.new(opts)
    ring
  end

  def new(:capture, _opts) do
    {:ok, capture} = Capture.new(ring_bytes: 8 * 1024 * 1024, batch_size: 50)
    capture
  end

  def write(%ForeignRing{} = ring, event), do: ForeignRing.write(ring, event)
  def write(%Capture{} = capture, event), do: Capture.event(capture, event)
  def write(ring, event), do: NativeRingBuffer.write(ring, event)

  def fill(source, events) do
    for event <- events, do: :ok = write(source, event)
    source
  end

  @doc "Numbered events, as maps."
  def events(range), do: for(n <- range, do: %{n: n, timestamp: n, pid: self()})
end
