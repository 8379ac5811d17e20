%% What the VM holds. Where its allocators are off (as under AddressSanitizer) it does not know: there it is 0 at all times, and a test that
%% wants to see it grow asks first whether it is known. All else that such a test does is done there too.
-module(vm_memory).
-export([held/1, is_known/0]).

held(Type) ->
    try
        erlang:memory(Type)
    catch
        error:notsup -> 0
    end.

is_known() -> held(total) > 0.
