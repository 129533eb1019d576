"""What people ask: status, history, why a task waits. Values in, values out."""
