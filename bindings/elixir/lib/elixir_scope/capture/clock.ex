defmodule ElixirScope.Capture.Clock do
  @moduledoc false
  # Converts between the system's monotonic clock, by which the library stamps events, and the VM's monotonic time, in which all other timestamps
  # are. All processes of the VM use the same conversion, and the order of times is kept: see c_src/base/clock.h.

  alias :elixir_scope_capture_pipeline_nif, as: Nif

  @typedoc "A piece of the conversion: from `from` to before `until` the two clocks advance in proportion."
  @type piece ::
          {from :: integer(), until :: integer(), from_there :: integer(), rise :: pos_integer(), run :: pos_integer()}

  # Neither clock ever shows a larger time.
  @max 0x3FFFFFFFFFFFFFFF

  @doc "The piece for a time. `:vm` converts from the system's clock to the VM's, `:system` from the VM's to the system's."
  @spec piece(:vm | :system, integer()) :: piece()
  def piece(clock, time) when time <= @max and time >= -@max do
    {_from, _until, _from_there, _rise, _run} = Nif.clock_piece(clock, time)
  end

  def piece(clock, time) do
    {from, _until, from_there, _rise, _run} = piece(clock, 0)
    {time, time + 1, time - from + from_there, 1, 1}
  end

  @doc "Whether the time is in that piece."
  defguard is_of(time, piece) when time >= elem(piece, 0) and time < elem(piece, 1)

  @doc "The time by the other clock. `piece` must be that of the time."
  @spec convert(integer(), piece()) :: integer()
  def convert(time, {from, _until, from_there, same, same}), do: time + (from_there - from)
  def convert(time, {from, _until, from_there, rise, run}), do: from_there + div((time - from) * rise, run)
end
