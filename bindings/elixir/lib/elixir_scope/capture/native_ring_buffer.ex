defmodule ElixirScope.Capture.NativeRingBuffer do
  @moduledoc """
  A bounded, totally ordered log of events, outside the heaps of the processes that write and read it.

  Positions count from 0 in the order of the writes, across all processes and schedulers. The ring holds exactly `size` events of any size. It lives
  as long as a reference to it exists (in a process, an Agent, application environment, persistent_term), and outlives the process that made it.

      {:ok, ring} = NativeRingBuffer.new(size: 1024)
      :ok = NativeRingBuffer.write(ring, %{function: :run})
      {:ok, %{function: :run}, 1} = NativeRingBuffer.read(ring, 0)

  Reading by position consumes nothing. Events leave the ring when they are overwritten (`:drop_oldest`), when a pool that
  reads the ring has acknowledged them (which also frees their slots in a `:drop_newest` or `:block` ring), by `clear/1` and by `destroy/1`.

  `write/2` and each read copy the event. The copy keeps no other memory alive: of a slice of a binary, only the slice is copied.
  """

  alias :elixir_scope_capture_pipeline_nif, as: Nif
  alias :elixir_scope_capture_pipeline_term, as: Term
  import Bitwise, only: [&&&: 2]

  @default_size 1024
  @default_overflow :drop_oldest
  @default_max_event_bytes 1_048_576
  @largest_size 4_294_967_296
  @largest_event 1_099_511_627_776
  @max_count 0xFFFF_FFFF

  @enforce_keys [:id, :size, :overflow_strategy, :ref]
  defstruct [:id, :size, :overflow_strategy, :ref, :max_event_bytes, :block_timeout_ms]

  @typedoc "The `:name` that was given, or a reference: an unnamed ring makes no atoms."
  @type buffer_id :: term()
  @type position :: non_neg_integer()
  @type overflow_strategy :: :drop_oldest | :drop_newest | :block

  @type t :: %__MODULE__{
          id: buffer_id(),
          size: pos_integer(),
          overflow_strategy: overflow_strategy(),
          ref: reference(),
          max_event_bytes: pos_integer(),
          block_timeout_ms: nil | non_neg_integer()
        }

  @typedoc "The reasons for which `write/2` refuses an event."
  @type write_error :: :buffer_full | :too_large | :destroyed | :out_of_memory | :badarg

  @doc """
  Makes a ring.

  Options, as a keyword list or a map; others are ignored:

    * `:size` - how many events it holds, a power of 2 (default #{@default_size}). The memory of an empty ring is next to nothing.
    * `:overflow_strategy` - what a write to a full ring does (default `:drop_oldest`): `:drop_oldest` overwrites the oldest event,
      `:drop_newest` and `:block` refuse the new one with `{:error, :buffer_full}`.
    * `:block_timeout_ms` - how long a write to a `:block` ring waits for space before it is refused (default: not at all). The writing process waits, not a scheduler.
    * `:max_event_bytes` - the largest event, as the bytes of its copy (default #{@default_max_event_bytes}); larger ones are `{:error, :too_large}`.
    * `:name` - a ring with an atom as its name is also put into persistent_term, under `:"elixir_scope_buffer_<name>"`, until it is destroyed.

  Errors: `:size_must_be_power_of_2`, `:invalid_size`, `:size_too_large` (over 2^32), `:invalid_overflow_strategy`, `:invalid_block_timeout`,
  `:invalid_max_event_bytes`, `:out_of_memory`; `:ring_dir_unsupported`: only an `ElixirScope.Capture.Capture` has a `:ring_dir`, because the terms of this ring
  lie in the VM's own memory.
  """
  @spec new(keyword() | map()) :: {:ok, t()} | {:error, atom()}
  def new(opts \\ []) when is_list(opts) or is_map(opts) do
    size = option(opts, :size, @default_size)
    overflow = option(opts, :overflow_strategy, @default_overflow)
    max = option(opts, :max_event_bytes, @default_max_event_bytes)
    timeout = option(opts, :block_timeout_ms, nil)

    with :ok <- check_ring_dir(option(opts, :ring_dir, nil)),
         :ok <- check_size(size),
         :ok <- check_overflow(overflow),
         :ok <- check_max(max),
         :ok <- check_timeout(timeout),
         {:ok, ref} <- Nif.ring_new(size, overflow, max) do
      name = option(opts, :name, nil)

      ring = %__MODULE__{
        id: if(name == nil, do: make_ref(), else: name),
        size: size,
        overflow_strategy: overflow,
        ref: ref,
        max_event_bytes: max,
        block_timeout_ms: timeout
      }

      if is_atom(ring.id), do: :persistent_term.put(key(ring.id), ring)
      {:ok, ring}
    end
  end

  @doc """
  Writes an event, any term. Never raises.

  `{:error, :buffer_full}`: the ring is full and does not overwrite. `{:error, :too_large}`: the event is larger than `:max_event_bytes`.
  """
  @spec write(t(), term()) :: :ok | {:error, write_error()}
  def write(%__MODULE__{ref: ref} = ring, event) do
    case Nif.ring_write(ref, event) do
      :ok -> :ok
      answer -> slow_write(ring, event, answer)
    end
  end

  def write(_ring, _event), do: {:error, :badarg}

  @doc """
  Reads the event at a position: `{:ok, event, position_behind_it}`, or `:empty` at or past the end. An older position reads the oldest event held.
  """
  @spec read(t(), position()) :: {:ok, term(), position()} | :empty | {:error, :destroyed | :badarg}
  def read(%__MODULE__{ref: ref}, position \\ 0) do
    case Nif.ring_read(ref, position) do
      :empty -> :empty
      {:error, :badarg} when is_integer(position) and position < 0 -> Nif.ring_read(ref, 0)
      {:error, :badarg} when is_integer(position) -> alive(ref, :empty)
      answer -> answer
    end
  end

  @doc """
  Reads up to `count` events from a position on, in order: `{events, new_position}`; `{[], position}` at or past the end. An older position reads on
  from the oldest event held.
  """
  @spec read_batch(t(), position(), non_neg_integer()) :: {[term()], position()} | {:error, :destroyed | :badarg}
  def read_batch(%__MODULE__{ref: ref}, position, count) when is_integer(position) and is_integer(count) do
    cond do
      count <= 0 or position >= 0xFFFF_FFFF_FFFF_FFFF -> alive(ref, {[], position})
      true -> read_batch_from(ref, max(position, 0), min(count, @max_count), position)
    end
  end

  def read_batch(%__MODULE__{}, _position, _count), do: {:error, :badarg}

  @doc """
  The ring's figures.

  `read_position` is the position of the oldest event held; overwriting and the acknowledgements of pools move it. `total_writes` counts the writes that
  returned `:ok`, `total_reads` the events read, `dropped_events` those overwritten.
  """
  @spec stats(t()) ::
          %{
            size: pos_integer(),
            write_position: position(),
            read_position: position(),
            available_events: non_neg_integer(),
            total_writes: non_neg_integer(),
            total_reads: non_neg_integer(),
            dropped_events: non_neg_integer(),
            utilization: float()
          }
          | {:error, :destroyed}
  def stats(%__MODULE__{ref: ref, size: size}) do
    case Nif.ring_stats(ref) do
      {write, read, writes, reads, dropped} ->
        %{
          size: size,
          write_position: write,
          read_position: read,
          available_events: write - read,
          total_writes: writes,
          total_reads: reads,
          dropped_events: dropped,
          utilization: (write - read) / size
        }

      error ->
        error
    end
  end

  @doc """
  How full the buffer is, 0 to 100.

      iex> {:ok, buffer} = ElixirScope.Capture.NativeRingBuffer.new(size: 4)
      iex> :ok = ElixirScope.Capture.NativeRingBuffer.write(buffer, :event)
      iex> ElixirScope.Capture.NativeRingBuffer.pressure(buffer)
      25
  """
  @spec pressure(t()) :: 0..100 | {:error, :destroyed}
  def pressure(%__MODULE__{} = buffer) do
    with %{utilization: utilization} <- stats(buffer), do: min(trunc(utilization * 100), 100)
  end

  @doc """
  Has the calling process told when the pressure rises to `high`, and then when it falls to `low`, and so on by turns: by messages
  `{:capture_pressure, ref, pressure, :high | :low}`. If it is high already, the first one comes at once. A ring tells one process; who calls last takes
  the place of the one before. `unwatch_pressure/1` ends it. `{:error, :badarg}` unless `0 <= low < high <= 100`. Since 0.1.0.

      iex> {:ok, buffer} = ElixirScope.Capture.NativeRingBuffer.new(size: 4)
      iex> {:ok, ref} = ElixirScope.Capture.NativeRingBuffer.watch_pressure(buffer, 20, 75)
      iex> for n <- 1..3, do: :ok = ElixirScope.Capture.NativeRingBuffer.write(buffer, n)
      iex> receive do: ({:capture_pressure, ^ref, pressure, :high} -> pressure)
      75

  Without a pool that stores its events a ring is full for good once it has been filled, and so is the pressure high.
  """
  @spec watch_pressure(t(), 0..100, 0..100) :: {:ok, reference()} | {:error, :badarg | :destroyed | :out_of_memory}
  def watch_pressure(%__MODULE__{ref: ring}, low, high) do
    ref = make_ref()
    with :ok <- Nif.ring_watch(ring, low, high, ref), do: {:ok, ref}
  end

  @doc "Ends what `watch_pressure/3` has begun, whoever has called it. A message may still be on its way. Since 0.1.0."
  @spec unwatch_pressure(t()) :: :ok | {:error, :destroyed}
  def unwatch_pressure(%__MODULE__{ref: ring}), do: Nif.ring_watch(ring, 0, 0, :none)

  @doc "The capacity of the ring in events, also of a destroyed one."
  @spec size(t()) :: pos_integer()
  def size(%__MODULE__{size: size}), do: size

  @doc "Empties the ring: positions and counters are 0 again, and all shared cursors start there."
  @spec clear(t()) :: :ok | {:error, :destroyed | :out_of_memory}
  def clear(%__MODULE__{ref: ref}), do: Nif.ring_clear(ref)

  @doc "Ends the ring and frees its events. Then all functions but `size/1` and `destroy/1` return `{:error, :destroyed}`."
  @spec destroy(t()) :: :ok
  def destroy(%__MODULE__{ref: ref, id: id}) do
    if is_atom(id) and match?(%{ref: ^ref}, :persistent_term.get(key(id), nil)) do
      :persistent_term.erase(key(id))
    end

    Nif.ring_destroy(ref)
  end

  @doc false
  # The native resource, for a cursor.
  @spec native(t()) :: reference()
  def native(%__MODULE__{ref: ref}), do: ref

  # The slow path of a write.
  defp slow_write(ring, event, :opaque) do
    case Term.bound(event, ring.max_event_bytes) do
      {:ok, bytes, needs} -> slow_write(ring, event, Nif.ring_write(ring.ref, event, bytes, needs))
      :too_large -> {:error, :too_large}
    end
  end

  defp slow_write(%{overflow_strategy: :block, block_timeout_ms: timeout} = ring, event, {:error, :buffer_full})
       when is_integer(timeout) and timeout > 0 do
    write_until(%{ring | block_timeout_ms: nil}, event, System.monotonic_time(:millisecond) + timeout)
  end

  defp slow_write(_ring, _event, answer), do: answer

  defp write_until(ring, event, deadline) do
    left = deadline - System.monotonic_time(:millisecond)
    if left > 0, do: Process.sleep(1)

    case write(ring, event) do
      {:error, :buffer_full} when left > 0 -> write_until(ring, event, deadline)
      answer -> answer
    end
  end

  # The work of a native call is bounded, so that a batch may take several. A gap (the ring was lapped meanwhile) ends the batch.
  defp read_batch_from(ref, position, count, given) do
    case Nif.ring_read_batch(ref, position, count) do
      {[], _first, _next} -> {[], given}
      {events, first, next} when next - first >= count -> {events, next}
      {events, first, next} -> read_on(ref, next, count - (next - first), [events])
      error -> error
    end
  end

  defp read_on(ref, position, count, parts) do
    case Nif.ring_read_batch(ref, position, count) do
      {[_ | _] = events, ^position, next} when next - position < count ->
        read_on(ref, next, count - (next - position), [events | parts])

      {events, ^position, next} ->
        {join([events | parts]), next}

      _lapped_or_destroyed ->
        {join(parts), position}
    end
  end

  defp join([last | parts]), do: Enum.reduce(parts, last, fn part, rest -> part ++ rest end)

  defp alive(ref, answer) do
    case Nif.ring_stats(ref) do
      {:error, reason} -> {:error, reason}
      _ -> answer
    end
  end

  defp option(opts, key, default) when is_map(opts), do: Map.get(opts, key, default)

  defp option(opts, key, default) do
    case List.keyfind(opts, key, 0) do
      {^key, value} -> value
      _ -> default
    end
  end

  defp check_ring_dir(nil), do: :ok
  defp check_ring_dir(_), do: {:error, :ring_dir_unsupported}

  defp check_size(size) when is_integer(size) and size > 0 do
    cond do
      (size &&& size - 1) != 0 -> {:error, :size_must_be_power_of_2}
      size > @largest_size -> {:error, :size_too_large}
      true -> :ok
    end
  end

  defp check_size(_), do: {:error, :invalid_size}

  defp check_overflow(overflow) when overflow in [:drop_oldest, :drop_newest, :block], do: :ok
  defp check_overflow(_), do: {:error, :invalid_overflow_strategy}

  defp check_max(max) when is_integer(max) and max > 0 and max <= @largest_event, do: :ok
  defp check_max(_), do: {:error, :invalid_max_event_bytes}

  defp check_timeout(nil), do: :ok
  defp check_timeout(timeout) when is_integer(timeout) and timeout >= 0, do: :ok
  defp check_timeout(_), do: {:error, :invalid_block_timeout}

  defp key(name), do: :"elixir_scope_buffer_#{name}"
end
