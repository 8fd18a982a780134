"""The five phases. Each takes exactly what it uses and returns what the next one needs; none knows another."""
