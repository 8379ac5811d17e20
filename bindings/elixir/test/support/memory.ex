defmodule CapturePipeline.Test.Memory do
  @moduledoc false
  # What the VM holds. Where its allocators are off (as under AddressSanitizer) it does not know: there it is 0 at all times, and a
  # test that wants to see it grow asks first whether it is known. All else that such a test does is done there too.

  def held(type) do
    :erlang.memory(type)
  rescue
    ErlangError -> 0
  end

  def known?, do: held(:total) > 0
end
