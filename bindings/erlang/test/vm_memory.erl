%% The memory of the VM. With its allocators off (as under AddressSanitizer) it is always 0, and a test that
%% wants to see it grow asks first whether it is known. The rest of such a test runs there too.
-module(vm_memory).
-export([held/1, is_known/0]).

held(Type) ->
    try
        erlang:memory(Type)
    catch
        error:notsup -> 0
    end.

is_known() -> held(total) > 0.
