defmodule ElixirScope.Capture.RingBuffer do
  @moduledoc """
  The existing app's name for a ring buffer, on the native one: every function is `ElixirScope.Capture.NativeRingBuffer`'s.

  This file is outside the package's compile path. An app that wants its ring replaced without touching the modules that alias this one
  removes its own `ring_buffer.ex` and compiles this file instead, for instance by adding its directory to `elixirc_paths`.
  """

  alias ElixirScope.Capture.NativeRingBuffer

  @type t :: NativeRingBuffer.t()
  @type buffer_id :: NativeRingBuffer.buffer_id()
  @type position :: NativeRingBuffer.position()
  @type overflow_strategy :: NativeRingBuffer.overflow_strategy()

  @doc "See `ElixirScope.Capture.NativeRingBuffer.new/1`."
  @spec new(keyword() | map()) :: {:ok, t()} | {:error, atom()}
  defdelegate new(opts \\ []), to: NativeRingBuffer

  @doc "See `ElixirScope.Capture.NativeRingBuffer.write/2`."
  @spec write(t(), term()) :: :ok | {:error, atom()}
  defdelegate write(buffer, event), to: NativeRingBuffer

  @doc "See `ElixirScope.Capture.NativeRingBuffer.read/2`."
  @spec read(t(), position()) :: {:ok, term(), position()} | :empty | {:error, atom()}
  defdelegate read(buffer, position \\ 0), to: NativeRingBuffer

  @doc "See `ElixirScope.Capture.NativeRingBuffer.read_batch/3`."
  @spec read_batch(t(), position(), non_neg_integer()) :: {[term()], position()} | {:error, atom()}
  defdelegate read_batch(buffer, position, count), to: NativeRingBuffer

  @doc "See `ElixirScope.Capture.NativeRingBuffer.stats/1`."
  @spec stats(t()) :: map() | {:error, atom()}
  defdelegate stats(buffer), to: NativeRingBuffer

  @doc "See `ElixirScope.Capture.NativeRingBuffer.size/1`."
  @spec size(t()) :: pos_integer()
  defdelegate size(buffer), to: NativeRingBuffer

  @doc "See `ElixirScope.Capture.NativeRingBuffer.clear/1`."
  @spec clear(t()) :: :ok | {:error, atom()}
  defdelegate clear(buffer), to: NativeRingBuffer

  @doc "See `ElixirScope.Capture.NativeRingBuffer.pressure/1`."
  @spec pressure(t()) :: 0..100 | {:error, :destroyed}
  defdelegate pressure(buffer), to: NativeRingBuffer

  @doc "See `ElixirScope.Capture.NativeRingBuffer.watch_pressure/3`."
  @spec watch_pressure(t(), 0..100, 0..100) :: {:ok, reference()} | {:error, :badarg | :destroyed | :out_of_memory}
  defdelegate watch_pressure(buffer, low, high), to: NativeRingBuffer

  @doc "See `ElixirScope.Capture.NativeRingBuffer.unwatch_pressure/1`."
  @spec unwatch_pressure(t()) :: :ok | {:error, :destroyed}
  defdelegate unwatch_pressure(buffer), to: NativeRingBuffer

  @doc "See `ElixirScope.Capture.NativeRingBuffer.destroy/1`."
  @spec destroy(t()) :: :ok
  defdelegate destroy(buffer), to: NativeRingBuffer
end
