"""Programs that run beside a command, in its container: started before it, waited for, and ended after it."""
