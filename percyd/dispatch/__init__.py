"""Tasks become ready; lost agents are noticed."""
