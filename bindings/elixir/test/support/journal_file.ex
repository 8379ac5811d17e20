defmodule CapturePipeline.Test.JournalFile do
  @moduledoc false
  # Reads the events of a journal, as docs/format.md specifies it, without the checksums. Only blocks that are not encoded.

  import Bitwise

  @doc "Kind, correlation id and payload of each event."
  def events(path) do
    for file <- path |> Path.join("*.journal") |> Path.wildcard(), event <- segment(File.read!(file)), do: event
  end

  defp segment(<<0x89, "CPJ\r\n", 0x1A, "\n", _::32, 1::little-32, size::little-32, _::binary>> = segment),
    do: blocks(binary_part(segment, size, byte_size(segment) - size))

  defp blocks(
         <<"CPB1", type::little-16, _::binary-52, encoding::16, head::little-32, stored::little-64, _::binary>> = rest
       ) do
    events = if type == 1 and encoding == 0, do: rest |> binary_part(head, stored) |> records(), else: []
    next = head + stored + 63 &&& bnot(63)
    events ++ blocks(binary_part(rest, next, byte_size(rest) - next))
  end

  defp blocks(<<>>), do: []

  defp records(
         <<len::little-32, _flags::32, kind::little-32, _weight::32, _sequence::64, _time::64, trace::little-64,
           _node::64, rest::binary>>
       ) do
    padding = -len &&& 7
    more = binary_part(rest, len + padding, byte_size(rest) - len - padding)
    [{kind, trace, binary_part(rest, 0, len)} | records(more)]
  end

  defp records(<<>>), do: []
end
