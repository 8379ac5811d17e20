defmodule CapturePipeline.Test.Memory do
  @moduledoc false
  # The memory of the VM. With its allocators off (as under AddressSanitizer) it is always 0, and a
  # test that wants to see it grow asks first whether it is known. The rest of such a test runs there too.

  def held(type) do
    :erlang.memory(type)
  rescue
    ErlangError -> 0
  end

  def known?, do: held(:total) > 0
end
